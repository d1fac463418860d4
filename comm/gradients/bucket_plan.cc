#include "comm/gradients/bucket_plan.h"

#include <utility>

namespace pinnerformer {
namespace {

void add(Bucket& bucket, size_t param, std::span<const int64_t> param_bytes) {
  bucket.params.push_back(param);
  bucket.bytes += param_bytes[param];
}

// Moves the gradients that are ready last, as many as fit and at least one, to a bucket of their
// own.
void cut_last(std::vector<Bucket>& buckets, std::span<const int64_t> param_bytes, int64_t cap) {
  if (buckets.empty() || buckets.back().bytes <= cap || buckets.back().params.size() == 1) return;
  const Bucket whole = std::exchange(buckets.back(), {});
  size_t kept = whole.params.size() - 1;
  int64_t moved = param_bytes[whole.params[kept]];
  while (kept > 1 && moved + param_bytes[whole.params[kept - 1]] <= cap)
    moved += param_bytes[whole.params[--kept]];
  for (size_t i = 0; i < whole.params.size(); ++i) {
    if (i == kept) buckets.emplace_back();
    add(buckets.back(), whole.params[i], param_bytes);
  }
}

}  // namespace

std::vector<Bucket> plan_buckets(std::span<const int64_t> param_bytes, const BucketCaps& caps) {
  std::vector<Bucket> buckets;
  for (size_t i = param_bytes.size(); i-- > 0;) {
    const int64_t cap = buckets.size() <= 1 ? caps.first : caps.other;
    if (buckets.empty() || buckets.back().bytes + param_bytes[i] > cap) buckets.emplace_back();
    add(buckets.back(), i, param_bytes);
  }
  cut_last(buckets, param_bytes, caps.last);
  return buckets;
}

}  // namespace pinnerformer
