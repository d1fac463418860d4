// A fixed number of partial sums fixes the order of the additions: the compiler may then use wide
// registers, and the result does not depend on their width.
#include "launch/index/inner_product.h"

#include <array>
#include <cstddef>
#include <numeric>

#include "trainer/simd.h"

namespace pinnerformer {
namespace {

constexpr int64_t kSums = 16;

}  // namespace

PF_VECTOR_CLONES
float inner_product(const float* a, const float* b, int64_t width) {
  std::array<float, kSums> sums{};
  int64_t i = 0;
  for (; i + kSums <= width; i += kSums)
    for (int64_t j = 0; j < kSums; ++j) sums[static_cast<size_t>(j)] += a[i + j] * b[i + j];
  float rest = 0;
  for (; i < width; ++i) rest += a[i] * b[i];
  return std::accumulate(sums.begin(), sums.end(), rest);
}

}  // namespace pinnerformer
