// Our optimizer against LibTorch's AdamW, and what it does with clipping and bad gradients.
#include "trainer/optimizer/optimizer.h"

#include <gtest/gtest.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>
#include <torch/types.h>

#include <cmath>
#include <limits>

#include "trainer/errors.h"

namespace pinnerformer {
namespace {

const std::vector<std::vector<int64_t>> kShapes{{4, 3}, {7}, {2, 3, 2}, {}, {1, 5}};

// Parameters whose gradients are views into one flat tensor, as the reducer makes them.
struct Problem {
  std::vector<NamedParameter> params;
  torch::Tensor flat;

  explicit Problem(uint64_t seed) {
    torch::manual_seed(seed);
    int64_t total = 0;
    for (size_t i = 0; i < kShapes.size(); ++i) {
      params.push_back({"p" + std::to_string(i), torch::randn(kShapes[i]).requires_grad_(true)});
      total += params.back().value.numel();
    }
    flat = torch::zeros({total});
    int64_t offset = 0;
    for (NamedParameter& param : params) {
      param.value.mutable_grad() =
          flat.narrow(0, offset, param.value.numel()).view(param.value.sizes());
      offset += param.value.numel();
    }
  }
  [[nodiscard]] std::vector<torch::Tensor> values() const {
    std::vector<torch::Tensor> copies;
    for (const NamedParameter& param : params) copies.push_back(param.value.detach().clone());
    return copies;
  }
};

OptimizerOptions options_of(double clip_norm, double weight_decay = 0.1) {
  OptimizerOptions options;
  options.clip_norm = clip_norm;
  options.weight_decay = weight_decay;
  return options;
}

torch::Tensor gradient(int64_t step, const torch::Tensor& like) {
  return torch::sin(torch::arange(like.numel()) * 0.7 + static_cast<double>(step)) *
         (1.0 + static_cast<double>(step % 3));
}

TEST(Optimizer, EqualsAdamWWithDecayOnMatricesOnly) {
  for (const double clip : {0.0, 1.5}) {
    const OptimizerOptions options = options_of(clip);
    Problem problem(1);
    Optimizer optimizer(problem.params, options);

    Problem reference(1);
    const auto adamw = [&](double decay) {
      return torch::optim::AdamWOptions(1e-3)
          .betas({options.beta1, options.beta2})
          .eps(options.epsilon)
          .weight_decay(decay);
    };
    std::vector<torch::Tensor> matrices, others;
    for (const NamedParameter& param : reference.params)
      (param.value.dim() >= 2 ? matrices : others).push_back(param.value);
    torch::optim::AdamW decayed(matrices, adamw(options.weight_decay)), plain(others, adamw(0));

    for (int64_t step = 0; step < 25; ++step) {
      const double lr = 0.01 / static_cast<double>(1 + step);
      problem.flat.copy_(gradient(step, problem.flat));
      reference.flat.copy_(gradient(step, reference.flat));
      if (clip > 0) {
        std::vector<torch::Tensor> all;
        for (const NamedParameter& param : reference.params) all.push_back(param.value);
        torch::nn::utils::clip_grad_norm_(all, clip);
      }
      optimizer.step({problem.flat}, lr);
      for (auto* other : {&decayed, &plain}) {
        static_cast<torch::optim::AdamWOptions&>(other->param_groups()[0].options()).lr(lr);
        other->step();
      }
    }
    for (size_t i = 0; i < kShapes.size(); ++i)
      EXPECT_TRUE(torch::allclose(problem.params[i].value, reference.params[i].value, 1e-5, 1e-6))
          << "parameter " << i << ", clip " << clip;
  }
}

TEST(Optimizer, ClipsByTheGlobalNormOverAllBuckets) {
  Problem problem(2);
  Optimizer optimizer(problem.params, options_of(1.0));
  problem.flat.copy_(gradient(0, problem.flat));
  const torch::Tensor before = problem.flat.clone();
  const int64_t half = before.numel() / 2;
  const torch::Tensor norm = optimizer.step(
      {problem.flat.narrow(0, 0, half), problem.flat.narrow(0, half, before.numel() - half)}, 0.1);
  EXPECT_GT(before.norm().item<double>(), 1.5);
  EXPECT_NEAR(norm.item<double>(), before.norm().item<double>(), 1e-5)
      << "the norm before clipping";
  EXPECT_TRUE(torch::allclose(problem.flat, before / before.norm(), 1e-4, 1e-6));
}

TEST(Optimizer, SmallGradientsAreNotScaledUp) {
  Problem problem(3);
  Optimizer optimizer(problem.params, options_of(1.0));
  problem.flat.fill_(1e-3);
  optimizer.step({problem.flat}, 0.1);
  EXPECT_TRUE(torch::allclose(problem.flat, torch::full_like(problem.flat, 1e-3)));
}

TEST(Optimizer, NonFiniteGradientTouchesNothing) {
  for (const double clip : {0.0, 1.0}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Problem problem(4);
      Optimizer optimizer(problem.params, options_of(clip));
      problem.flat.copy_(gradient(0, problem.flat));
      optimizer.step({problem.flat}, 0.1);
      const auto values = problem.values();
      std::map<std::string, torch::Tensor> state;
      for (const auto& [name, tensor] : optimizer.state()) state[name] = tensor.clone();

      problem.flat.copy_(gradient(1, problem.flat));
      problem.flat[13] = bad;
      const torch::Tensor norm = optimizer.step({problem.flat}, 0.1);
      EXPECT_FALSE(std::isfinite(norm.item<double>()));
      for (size_t i = 0; i < values.size(); ++i)
        EXPECT_TRUE(torch::equal(problem.params[i].value, values[i])) << i;
      for (const auto& [name, tensor] : optimizer.state())
        EXPECT_TRUE(torch::equal(tensor, state.at(name))) << name;
    }
  }
}

TEST(Optimizer, GoesOnFromItsStateBitByBit) {
  Problem whole(5), before(5), after(6);
  Optimizer one(whole.params, options_of(1.0)), two(before.params, options_of(1.0));
  const auto take = [](Problem& problem, Optimizer& optimizer, int64_t from, int64_t to) {
    for (int64_t step = from; step < to; ++step) {
      problem.flat.copy_(gradient(step, problem.flat));
      optimizer.step({problem.flat}, 0.05);
    }
  };
  take(whole, one, 0, 20);
  take(before, two, 0, 10);

  Optimizer three(after.params, options_of(1.0));
  std::map<std::string, torch::Tensor> state;
  for (const auto& [name, tensor] : two.state()) state[name] = tensor.clone();
  EXPECT_EQ(state.size(), 1 + 2 * kShapes.size());
  three.load_state(state, "test");
  {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < kShapes.size(); ++i) after.params[i].value.copy_(before.params[i].value);
  }
  take(after, three, 10, 20);
  for (size_t i = 0; i < kShapes.size(); ++i)
    EXPECT_TRUE(torch::equal(after.params[i].value, whole.params[i].value)) << i;
}

TEST(Optimizer, IncompleteStateIsRefused) {
  Problem problem(7);
  Optimizer optimizer(problem.params, options_of(1.0));
  auto state = optimizer.state();
  state.erase("adam.v.p1");
  EXPECT_THROW(optimizer.load_state(state, "test"), CheckpointError);
  for (const torch::Tensor& other : {torch::zeros({1}), torch::zeros({}, torch::kInt64)}) {
    state = optimizer.state();
    state["adam.steps"] = other;  // copy_() alone would take both
    EXPECT_THROW(optimizer.load_state(state, "test"), CheckpointError) << other.sizes();
  }
}

TEST(Optimizer, MatricesAloneAndNothingAtAll) {
  std::vector<NamedParameter> only{{"w", torch::ones({2, 2}).requires_grad_(true)}};
  only[0].value.mutable_grad() = torch::ones({2, 2});
  Optimizer optimizer(only, options_of(0));
  optimizer.step({only[0].value.grad()}, 0.1);
  EXPECT_LT(only[0].value.max().item<float>(), 1);
  EXPECT_THROW(Optimizer({}, options_of(0)), c10::Error);
}

}  // namespace
}  // namespace pinnerformer
