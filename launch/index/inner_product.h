// Inner products of vectors: the same bits on every processor, and in every place that compares.
#pragma once
#include <cstdint>

namespace pinnerformer {

// Sum of a[i] * b[i] over `width` numbers.
[[nodiscard]] float inner_product(const float* a, const float* b, int64_t width);

}  // namespace pinnerformer
