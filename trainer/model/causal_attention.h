// Causal attention: a position sees itself and earlier positions (Vaswani et al., 2017).
#pragma once
#include <torch/types.h>

namespace pinnerformer {

// softmax(Q K^T / sqrt(d) + M) V with M = -inf above the diagonal. All [B, heads, S, d], and so is
// the result. By LibTorch's fused kernel or as products, whichever is faster for these tensors.
[[nodiscard]] torch::Tensor causal_attention(const torch::Tensor& queries,
                                             const torch::Tensor& keys,
                                             const torch::Tensor& values);

// The same as matrix products. Backward needs all weights: B * heads * S * S elements are kept.
[[nodiscard]] torch::Tensor causal_attention_by_products(const torch::Tensor& queries,
                                                         const torch::Tensor& keys,
                                                         const torch::Tensor& values);

}  // namespace pinnerformer
