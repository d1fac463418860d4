// Which gradients are reduced together. Pure: no tensors, no GPU, no MPI.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace pinnerformer {

struct Bucket {
  std::vector<size_t> params;  // indices into the input, in the order their gradients become ready
  int64_t bytes = 0;
};

// Walks the parameters from last to first (the order in which backward finishes them) and closes a
// bucket before it would exceed its cap. The first bucket has a smaller cap, so that its reduction
// starts early. A gradient larger than the cap has its own bucket. Every index appears exactly
// once.
[[nodiscard]] std::vector<Bucket> plan_buckets(std::span<const int64_t> param_bytes,
                                               int64_t first_cap_bytes, int64_t cap_bytes);

}  // namespace pinnerformer
