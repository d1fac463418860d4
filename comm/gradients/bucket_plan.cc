#include "comm/gradients/bucket_plan.h"

namespace pinnerformer {

std::vector<Bucket> plan_buckets(std::span<const int64_t> param_bytes, int64_t first_cap_bytes,
                                 int64_t cap_bytes) {
  std::vector<Bucket> buckets;
  for (size_t i = param_bytes.size(); i-- > 0;) {
    const int64_t cap = buckets.size() <= 1 ? first_cap_bytes : cap_bytes;
    if (buckets.empty() || buckets.back().bytes + param_bytes[i] > cap) buckets.emplace_back();
    buckets.back().params.push_back(i);
    buckets.back().bytes += param_bytes[i];
  }
  return buckets;
}

}  // namespace pinnerformer
