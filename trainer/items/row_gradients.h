// Whether the gradients of the item rows of a step can be applied: the update rules need their
// squares.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// float32 scalar, the same on all ranks of `comm`, which moves tensors of the device of
// `gradients`: 0 where the gradients [U, E] of every rank are finite, and small enough that the
// square of any sum of theirs is finite, too; else NaN. Every rank must call it.
[[nodiscard]] torch::Tensor nan_unless_finite(const torch::Tensor& gradients, Communicator& comm);

// Of the rows of the table, int64 [U], those whose gradients on this rank are not.
[[nodiscard]] std::vector<int64_t> rows_not_finite(const torch::Tensor& rows,
                                                   const torch::Tensor& gradients);

}  // namespace pinnerformer
