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

// Largest sizes in bytes, each above 0.
struct BucketCaps {
  int64_t first = 0;  // of the bucket that leaves first: a small one starts early
  int64_t other = 0;
  // Of the bucket that leaves last, `other` where it may be as large as any. Backward is over by
  // then, so that nothing hides its reduction: a small one makes the step shorter.
  int64_t last = 0;
};

// Walks the parameters from last to first (the order in which backward finishes them) and closes a
// bucket before it would exceed its cap. A gradient larger than the cap has its own bucket. A last
// bucket beyond its cap is cut in two. Every index appears exactly once.
[[nodiscard]] std::vector<Bucket> plan_buckets(std::span<const int64_t> param_bytes,
                                               const BucketCaps& caps);

}  // namespace pinnerformer
