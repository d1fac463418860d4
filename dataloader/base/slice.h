// Contiguous parts of a sequence of `total` things, such as the rows of a global batch.
#pragma once
#include <cstdint>
#include <vector>

namespace pinnerformer {

// [first, first + count).
struct Slice {
  int64_t first = 0;
  int64_t count = 0;
  [[nodiscard]] int64_t end() const { return first + count; }
  bool operator==(const Slice&) const = default;
};

// Slice `number` of `slices`: disjoint, together complete; sizes differ by at most one.
[[nodiscard]] constexpr Slice equal_slice(int64_t total, int64_t number, int64_t slices) {
  const int64_t first = total * number / slices;
  return {first, total * (number + 1) / slices - first};
}

// The slice of a rank.
[[nodiscard]] constexpr Slice rank_slice(int64_t total, int rank, int world) {
  return equal_slice(total, rank, world);
}

// The sizes of all slices, in rank order.
[[nodiscard]] inline std::vector<int64_t> slice_counts(int64_t total, int world) {
  std::vector<int64_t> counts;
  for (int rank = 0; rank < world; ++rank) counts.push_back(rank_slice(total, rank, world).count);
  return counts;
}

}  // namespace pinnerformer
