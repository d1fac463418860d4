// The encoder is a stack of blocks of one kind (model.block). This is what every kind offers;
// docs/adding_an_encoder.md shows how one is added.
#pragma once
#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>

namespace pinnerformer {

// What a block may know of the events beside their states.
struct Sequences {
  torch::Tensor length;    // int64 [B], >= 1; padding is on the right
  torch::Tensor time;      // int64 [B, S] seconds since 1970
  torch::Tensor draw_key;  // int64 [B] key of each row's dropout
};

class EncoderBlock : public torch::nn::Module {
 public:
  // [B, S, H] -> [B, S, H]; position s sees positions <= s only, so that padding is never seen. A
  // row does not depend on the other rows or on the padding behind it.
  virtual torch::Tensor forward(const torch::Tensor& states, const Sequences& sequences) = 0;
  // The same at `positions` only, int64 [N] among the B * S positions: [N, H].
  virtual torch::Tensor forward_at(const torch::Tensor& states, const Sequences& sequences,
                                   const torch::Tensor& positions) = 0;
};

// A block whose past is a state of constant size: new events alone move it on.
class RecurrentBlock : public EncoderBlock {
 public:
  // Numbers of a state.
  [[nodiscard]] virtual int64_t state_width() const = 0;
  // forward() without dropout, of events that follow those of `state`, float32 [B, state_width()];
  // zeros before the first event. `state` becomes that behind the last valid position of each row.
  virtual torch::Tensor go_on(const torch::Tensor& states, const Sequences& sequences,
                              torch::Tensor& state) = 0;
};

// Keys of a dropout's random bits, one for each row of what is dropped: see keyed_dropout().
struct DropoutRows {
  torch::Tensor draw_key;
  std::optional<torch::Tensor> first_element;
};

// Of [B, S, ...], and of the rows [N, width] at positions [N] of [B, length, width].
[[nodiscard]] DropoutRows dropout_rows(const Sequences& sequences);
[[nodiscard]] DropoutRows dropout_rows_at(const Sequences& sequences,
                                          const torch::Tensor& positions, int64_t length,
                                          int64_t width);

// [B, S, ...] -> its rows at `positions`, [N, ...].
[[nodiscard]] torch::Tensor rows_at(const torch::Tensor& states, const torch::Tensor& positions);
// Rows [N, W] at positions [N] of zeros [users, length, W].
[[nodiscard]] torch::Tensor spread_rows(const torch::Tensor& rows, const torch::Tensor& positions,
                                        int64_t users, int64_t length);

}  // namespace pinnerformer
