// Attention as products beside LibTorch's fused kernel, values and gradients.
#include "trainer/model/causal_attention.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <string>
#include <vector>

namespace pinnerformer {
namespace {

using Attention = torch::Tensor (*)(const torch::Tensor&, const torch::Tensor&,
                                    const torch::Tensor&);

torch::Tensor fused(const torch::Tensor& queries, const torch::Tensor& keys,
                    const torch::Tensor& values) {
  return at::scaled_dot_product_attention(queries, keys, values, {}, 0, /*is_causal=*/true);
}

constexpr int64_t kUsers = 3, kHeads = 2, kLength = 17, kWidth = 8;

std::vector<torch::Tensor> inputs() {
  torch::manual_seed(3);
  std::vector<torch::Tensor> drawn;
  for (int i = 0; i < 3; ++i) drawn.push_back(2 * torch::randn({kUsers, kHeads, kLength, kWidth}));
  return drawn;
}

// The result and the gradients of a weighted sum of it, in float32.
std::vector<torch::Tensor> run(Attention attention, torch::ScalarType type) {
  std::vector<torch::Tensor> in;
  for (const torch::Tensor& input : inputs()) in.push_back(input.to(type).requires_grad_());
  const torch::Tensor result = attention(in[0], in[1], in[2]);
  torch::manual_seed(4);
  (result * torch::randn(result.sizes()).to(type)).sum().backward();
  return {result.detach().to(torch::kFloat32), in[0].grad().to(torch::kFloat32),
          in[1].grad().to(torch::kFloat32), in[2].grad().to(torch::kFloat32)};
}

double largest_difference(const std::vector<torch::Tensor>& a,
                          const std::vector<torch::Tensor>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].sizes(), b[i].sizes());
    largest = std::max(largest, (a[i] - b[i]).abs().max().item<double>());
  }
  return largest;
}

TEST(CausalAttention, ProductsAreTheFusedKernelInFloat32) {
  EXPECT_LT(largest_difference(run(causal_attention_by_products, torch::kFloat32),
                               run(fused, torch::kFloat32)),
            1e-5);
}

TEST(CausalAttention, ProductsErrInBfloat16AsTheFusedKernelDoes) {
  const auto exact = run(fused, torch::kFloat32);
  const double theirs = largest_difference(run(fused, torch::kBFloat16), exact);
  const double ours =
      largest_difference(run(causal_attention_by_products, torch::kBFloat16), exact);
  const double chosen = largest_difference(run(causal_attention, torch::kBFloat16), exact);
  EXPECT_GT(theirs, 0);
  EXPECT_LT(ours, 2 * theirs);
  EXPECT_LT(chosen, 2 * theirs);
}

TEST(CausalAttention, APositionSeesNothingThatComesLater) {
  for (const Attention attention : {&causal_attention, &causal_attention_by_products})
    for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
      std::vector<torch::Tensor> in;
      for (const torch::Tensor& input : inputs()) in.push_back(input.to(type).requires_grad_());
      constexpr int64_t kPosition = 5;
      attention(in[0], in[1], in[2]).select(2, kPosition).sum().backward();
      for (const torch::Tensor& tensor : in) {
        const torch::Tensor later = tensor.grad().slice(2, kPosition + 1);
        EXPECT_EQ(later.abs().max().item<float>(), 0) << type;
        EXPECT_GT(tensor.grad().select(2, kPosition).abs().max().item<float>(), 0) << type;
      }
    }
}

// Whether LibTorch's fused kernel stands in the graph of a result.
bool is_fused(const torch::autograd::Node* node) {
  if (node == nullptr) return false;
  if (node->name().find("ScaledDotProduct") != std::string::npos) return true;
  return std::ranges::any_of(node->next_edges(), [](const torch::autograd::Edge& edge) {
    return is_fused(edge.function.get());
  });
}

// Long ones would keep too many weights, short ones too many of oneDNN's kernels.
TEST(CausalAttention, ProductsAreForMiddlingLengthsInBfloat16) {
  const auto fused_at = [](int64_t length, torch::ScalarType type) {
    const torch::Tensor query = torch::randn({2, 1, length, 4}).to(type).requires_grad_();
    const torch::Tensor result = causal_attention(query, query, query);
    EXPECT_EQ(result.scalar_type(), type);
    return is_fused(result.grad_fn().get());
  };
  EXPECT_TRUE(fused_at(10, torch::kBFloat16));
  EXPECT_FALSE(fused_at(100, torch::kBFloat16));
  EXPECT_TRUE(fused_at(5000, torch::kBFloat16));
  EXPECT_TRUE(fused_at(100, torch::kFloat32));
}

}  // namespace
}  // namespace pinnerformer
