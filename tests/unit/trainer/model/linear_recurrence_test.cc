// The recurrence: both ways give what a plain loop gives, forward and backward.
#include "trainer/model/linear_recurrence.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <complex>
#include <functional>
#include <vector>

#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

using Way =
    std::function<torch::Tensor(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&)>;

struct NamedWay {
  std::string name;
  Way run;
};

class LinearRecurrence : public testing::TestWithParam<NamedWay> {};
INSTANTIATE_TEST_SUITE_P(Ways, LinearRecurrence,
                         testing::Values(NamedWay{"over_time", linear_recurrence},
                                         NamedWay{"by_doubling", linear_recurrence_by_doubling}),
                         [](const auto& way) { return way.param.name; });

// Slow decay, as of a state that remembers thousands of events, and a fast turn.
torch::Tensor weights_of(int64_t channels) {
  const torch::Tensor k = torch::arange(channels, torch::kFloat32);
  const torch::Tensor radius = 1 - 0.3 * torch::exp(-k), angle = 0.7 * k;
  return torch::cat({radius * torch::cos(angle), radius * torch::sin(angle)});
}

// Event by event, in double precision.
torch::Tensor step_by_step(const torch::Tensor& input, const torch::Tensor& weight,
                           const torch::Tensor& before) {
  const int64_t channels = weight.size(0) / 2;
  torch::Tensor output = torch::empty_like(input);
  const auto in = input.accessor<float, 3>();
  const auto w = weight.accessor<float, 1>();
  auto out = output.accessor<float, 3>();
  for (int64_t b = 0; b < input.size(0); ++b)
    for (int64_t k = 0; k < channels; ++k) {
      std::complex<double> state;
      if (before.defined())
        state = {before[b][k].item<float>(), before[b][channels + k].item<float>()};
      for (int64_t s = 0; s < input.size(1); ++s) {
        state = std::complex<double>(w[k], w[channels + k]) * state +
                std::complex<double>(in[b][s][k], in[b][s][channels + k]);
        out[b][s][k] = static_cast<float>(state.real());
        out[b][s][channels + k] = static_cast<float>(state.imag());
      }
    }
  return output;
}

double largest(const torch::Tensor& difference) { return difference.abs().max().item<double>(); }

TEST_P(LinearRecurrence, IsThatOfALoopOverFourThousandEvents) {
  const torch::Tensor input = waves({2, 4096, 10}, 0.37), weight = weights_of(5);
  const torch::Tensor expected = step_by_step(input, weight, {});
  EXPECT_GT(largest(expected), 1);
  EXPECT_LT(largest(GetParam().run(input, weight, {}) - expected), 1e-4);
}

TEST_P(LinearRecurrence, GoesOnFromAState) {
  for (const int64_t length : {1, 2, 13}) {
    const torch::Tensor input = waves({3, length, 6}, 0.9), weight = weights_of(3);
    const torch::Tensor before = waves({3, 6}, 1.3);
    EXPECT_LT(largest(GetParam().run(input, weight, before) - step_by_step(input, weight, before)),
              1e-5)
        << length;
  }
}

// The gradient of a sum of products, by small changes of every number.
TEST_P(LinearRecurrence, GradientsAreThoseOfSmallChanges) {
  const torch::Tensor factor = waves({2, 7, 4}, 2.1);
  std::vector<torch::Tensor> inputs = {waves({2, 7, 4}, 0.37), weights_of(2), waves({2, 4}, 1.3)};
  for (torch::Tensor& input : inputs) input.requires_grad_(true);
  (GetParam().run(inputs[0], inputs[1], inputs[2]) * factor).sum().backward();
  const auto value = [&] {
    return (step_by_step(inputs[0], inputs[1], inputs[2]) * factor)
        .to(torch::kFloat64)
        .sum()
        .item<double>();
  };
  constexpr float kChange = 1e-2F;
  for (size_t n = 0; n < inputs.size(); ++n) {
    const torch::NoGradGuard no_grad;
    torch::Tensor flat = inputs[n].view({-1});
    for (int64_t i = 0; i < flat.numel(); ++i) {
      flat[i] += kChange;
      const double above = value();
      flat[i] -= 2 * kChange;
      const double below = value();
      flat[i] += kChange;
      EXPECT_NEAR(inputs[n].grad().view({-1})[i].item<double>(), (above - below) / (2 * kChange),
                  2e-2)
          << n << " " << i;
    }
  }
}

}  // namespace
}  // namespace pinnerformer
