// The exact best columns of a score matrix, and the interleaving of several such lists.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace pinnerformer {

// The `k` highest columns of each row, best first, equal scores in order of their columns. Columns
// at minus infinity never appear, so a list can be shorter. scores [rows, columns] float32.
[[nodiscard]] std::vector<std::vector<int64_t>> top_columns(const torch::Tensor& scores, int64_t k);

// Interleaves the lists: each in turn adds its best entry that is not there yet, up to `k` entries
// (paper section 8, for the clusters of PinnerSage).
[[nodiscard]] std::vector<int64_t> round_robin(const std::vector<std::vector<int64_t>>& lists,
                                               size_t k);

}  // namespace pinnerformer
