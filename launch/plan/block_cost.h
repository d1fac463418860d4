// What a block of each kind takes (model.block), counted along trainer/model/*_block.cc.
#pragma once
#include "trainer/options.h"

namespace pinnerformer {

inline constexpr double kPasses = 3;   // forward, and backward for inputs and for weights
inline constexpr double kTouches = 3;  // of what is kept, by kernels without products

struct BlockCost {
  double parameters = 0;
  // Elements of its matrices, and of these what every position meets in the last block.
  double matrices = 0, matrices_of_all = 0;
  // Passes over the causal half of all pairs of events; 0: a recurrence.
  double attention_passes = 0;
  // Floats kept for the backward pass, for each event and element of H; in the last block those of
  // every position.
  double kept = 0, kept_of_all = 0;
  double kept_scores = 0;  // the same for each pair of events of a user
};

// `window`: events of a user.
[[nodiscard]] BlockCost block_cost(const ModelOptions& model, double window, bool gpu);

// Operations of the attention of a block over `events`, forward: two products of the causal half.
[[nodiscard]] double attention_operations(double events, double window, double hidden);
// Of an inner block, forward and backward.
[[nodiscard]] double block_operations(const BlockCost& block, double events, double window,
                                      double hidden);
// Bytes that kernels without products move in an inner block, forward and backward.
[[nodiscard]] double block_touched_bytes(const BlockCost& block, double events, double hidden);

}  // namespace pinnerformer
