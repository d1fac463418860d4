// A batch: the windows of some users as tensors, padded on the right to the longest.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/label_window.h"

namespace pinnerformer {

// B users, S positions in time order: position s of user b is valid where s < length[b].
struct Batch {
  torch::Tensor length;    // int64 [B], >= 1
  torch::Tensor item;      // int64 [B, S] rows of the item table, 0 at padding
  torch::Tensor action;    // int64 [B, S]
  torch::Tensor surface;   // int64 [B, S]
  torch::Tensor time;      // int64 [B, S] seconds since 1970
  torch::Tensor duration;  // float32 [B, S] seconds, NaN: unknown
  torch::Tensor draw_key;  // int64 [B] key of each row's random draws, of (seed, epoch, user)
  torch::Tensor vectors;   // [B, S, C] content vectors; undefined: the model looks them up

  [[nodiscard]] int64_t users() const { return length.size(0); }
  [[nodiscard]] Batch to(torch::Device device) const;
  [[nodiscard]] Batch rows(int64_t first, int64_t count) const;  // views
};

// One row of a batch: timeline[first, end).
struct BatchRow {
  const Timeline* timeline = nullptr;
  int64_t first = 0;
  int64_t end = 0;
  int64_t draw_key = 0;
};

// At least one row, each with at least one event.
[[nodiscard]] Batch make_batch(std::span<const BatchRow> rows);
// One row with one event: the batch of a rank without a sample.
[[nodiscard]] Batch placeholder_batch();

// A batch of training samples. `labels[b]` are those of row b, on the host.
struct TrainingBatch {
  Batch inputs;
  std::vector<int64_t> user;  // [B] row of the user in the dataset
  std::vector<int64_t> slot;  // [B] index of the row in this rank's slice of the global batch
  std::vector<std::vector<Label>> labels;  // [B]
  int64_t slots = 0;                       // users of this rank's slice, with and without a sample
  int64_t global_slots = 0;                // users of the global batch
  // Users without a row because their block is bad, since the last batch, and the first reason.
  int64_t skipped_users = 0;
  std::string skipped_because;
  // Set where reading failed: this batch is a placeholder and the last one. The error comes with a
  // batch, not instead of one, so that all ranks learn of it in their next exchange.
  std::exception_ptr failure;
};

}  // namespace pinnerformer
