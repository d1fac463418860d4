#include "trainer/model/causal_attention.h"

#include <cmath>
#include <limits>

#include "trainer/model/autocast.h"

namespace pinnerformer {
namespace {

// On a CPU, backward of LibTorch's fused attention in bfloat16 takes three to ten times as long as
// that of plain products. Products keep all attention weights for backward, which must fit in
// memory. oneDNN compiles and keeps a kernel for every length, which takes longer than it saves for
// short ones: those are computed in float32.
bool products_are_better(const torch::Tensor& queries) {
  constexpr int64_t kLeastLength = 64, kMostWeights = int64_t{1} << 25;
  const int64_t length = queries.size(2);
  return length >= kLeastLength &&
         queries.size(0) * queries.size(1) * length * length <= kMostWeights;
}

torch::Tensor fused(const torch::Tensor& queries, const torch::Tensor& keys,
                    const torch::Tensor& values) {
  return at::scaled_dot_product_attention(queries, keys, values, {}, /*dropout_p=*/0,
                                          /*is_causal=*/true);
}

}  // namespace

torch::Tensor causal_attention(const torch::Tensor& queries, const torch::Tensor& keys,
                               const torch::Tensor& values) {
  if (!queries.is_cpu() || queries.scalar_type() != torch::kBFloat16)
    return fused(queries, keys, values);
  if (products_are_better(queries)) return causal_attention_by_products(queries, keys, values);
  const AutocastScope in_float32(false, torch::kCPU);
  return fused(queries.to(torch::kFloat32), keys.to(torch::kFloat32), values.to(torch::kFloat32))
      .to(torch::kBFloat16);
}

torch::Tensor causal_attention_by_products(const torch::Tensor& queries, const torch::Tensor& keys,
                                           const torch::Tensor& values) {
  const int64_t length = queries.size(2);
  const torch::Tensor later =
      torch::full({length, length}, -std::numeric_limits<float>::infinity(), queries.options())
          .triu_(1);
  const double scale = 1 / std::sqrt(static_cast<double>(queries.size(3)));
  const torch::Tensor scores =  // [B * heads, S, S]
      torch::baddbmm(later.unsqueeze(0), queries.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2),
                     /*beta=*/1, scale);
  return torch::bmm(scores.softmax(-1), values.flatten(0, 1)).view(queries.sizes());
}

}  // namespace pinnerformer
