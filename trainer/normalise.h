// Vectors of norm 1, as the model outputs them.
#pragma once
#include <torch/types.h>

namespace pinnerformer {

// Vectors along the last dimension with L2 norm 1, float32; zeros (an item without a vector) stay.
[[nodiscard]] torch::Tensor normalised_rows(const torch::Tensor& vectors);

}  // namespace pinnerformer
