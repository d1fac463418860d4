// LibTorch's layer normalisation over the last dimension.
#pragma once
#include <torch/nn/modules/normalization.h>

#include <cstdint>

namespace pinnerformer {

[[nodiscard]] inline torch::nn::LayerNorm make_layer_norm(int64_t width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}));
}

}  // namespace pinnerformer
