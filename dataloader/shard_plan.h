// Which users make up a step, and which of them are this rank's. Pure: integers in, integers out.
#pragma once
#include <cstdint>
#include <vector>

namespace pinnerformer {

// [first, first + count) of a global batch.
struct Slice {
  int64_t first = 0;
  int64_t count = 0;
};

// Contiguous, disjoint, together complete; sizes differ by at most one.
[[nodiscard]] Slice rank_slice(int64_t total, int rank, int world);
// The sizes of all slices, in rank order.
[[nodiscard]] std::vector<int64_t> slice_counts(int64_t total, int world);

// The order in which an epoch visits `users`: blocks of `block_users` neighbours are shuffled, then
// the users within each buffer of `buffer_blocks` blocks. A function of (seed, epoch) alone.
// Neighbours stay near each other, so that reads stay local.
[[nodiscard]] std::vector<int64_t> epoch_order(const std::vector<int64_t>& users, int64_t seed,
                                               int64_t epoch, int64_t block_users,
                                               int64_t buffer_blocks);

}  // namespace pinnerformer
