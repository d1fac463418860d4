// Linear layers by oneDNN beside LibTorch's own, values and gradients.
#include "trainer/model/linear.h"

#include <gtest/gtest.h>

#include <vector>

namespace pinnerformer {
namespace {

using Layer = torch::Tensor (*)(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&);

torch::Tensor libtorch(const torch::Tensor& input, const torch::Tensor& weight,
                       const torch::Tensor& bias) {
  return torch::linear(input, weight, bias);
}

// The result and the gradients of a weighted sum of it.
std::vector<torch::Tensor> run(Layer layer, torch::IntArrayRef shape) {
  torch::manual_seed(3);
  const torch::Tensor input = torch::randn(shape).requires_grad_();
  const torch::Tensor weight = torch::randn({7, shape.back()}).requires_grad_();
  const torch::Tensor bias = torch::randn({7}).requires_grad_();
  const torch::Tensor result = layer(input, weight, bias);
  (result * torch::randn(result.sizes())).sum().backward();
  return {result.detach(), input.grad(), weight.grad(), bias.grad()};
}

TEST(Linear, OneDnnGivesWhatLibTorchGives) {
  constexpr int64_t kWide = 9400;  // with 2,048 rows large enough for linear() to choose oneDNN
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{5, 9}, {2, 3, 9}, {1, 1}, {2048, kWide}}) {
    const auto expected = run(libtorch, shape);
    for (const Layer layer : {&linear_by_onednn, &linear}) {
      const auto found = run(layer, shape);
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(found[i].layout(), torch::kStrided);
        const double scale = expected[i].abs().max().item<double>();
        EXPECT_TRUE(found[i].allclose(expected[i], 1e-5, 1e-5 * scale)) << i << " of " << shape;
      }
    }
  }
}

TEST(Linear, NoRowsGiveNoRows) {
  const auto found = run(linear, {0, 9});
  EXPECT_EQ(found[0].sizes(), torch::IntArrayRef({0, 7}));
  EXPECT_EQ(found[2].abs().max().item<float>(), 0);
}

TEST(Linear, ModuleIsNamedAndDrawnAsLibTorchs) {
  torch::manual_seed(1);
  const Linear ours(9, 7);
  torch::manual_seed(1);
  const torch::nn::Linear theirs(9, 7);
  EXPECT_TRUE(ours->weight.equal(theirs->weight));
  EXPECT_TRUE(ours->bias.equal(theirs->bias));
}

}  // namespace
}  // namespace pinnerformer
