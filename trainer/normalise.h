// Scales vectors to norm 1.
#pragma once
#include <torch/types.h>

namespace pinnerformer {

// Vectors along the last dimension with L2 norm 1, float32. Vectors of zeros (items without a
// vector) stay zero.
[[nodiscard]] torch::Tensor normalised_rows(const torch::Tensor& vectors);

}  // namespace pinnerformer
