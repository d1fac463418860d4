// The chunked loss with its hand-written backward against the plain formula in float64 autograd.
#include "trainer/objective/sampled_softmax.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>

namespace pinnerformer {
namespace {

using torch::Tensor;

struct Problem {
  SoftmaxInputs inputs;
  int64_t rows = 0;
};

Tensor unit_rows(int64_t rows, int64_t width) {
  const Tensor vectors = torch::randn({rows, width});
  return vectors / vectors.norm(2, 1, /*keepdim=*/true);
}

Problem make_problem(int64_t pairs, int64_t pool, int64_t width = 8, int64_t rows = 5) {
  torch::manual_seed(static_cast<uint64_t>(pairs * 1000 + pool));
  Problem problem;
  problem.rows = rows;
  SoftmaxInputs& in = problem.inputs;
  in.user = unit_rows(pairs, width).requires_grad_(true);
  in.positive = unit_rows(pairs, width).requires_grad_(true);
  in.pool = unit_rows(pool, width).requires_grad_(true);
  in.inverse_temperature = torch::tensor(7.5F).requires_grad_(true);
  in.positive_log_q = -torch::rand({pairs}) * 4;
  in.pool_log_q = -torch::rand({pool}) * 4;
  in.row = torch::randint(rows, {pairs}, torch::kInt64);
  in.mask = torch::rand({rows, pool}) < 0.2;
  in.weight = torch::rand({pairs}) / static_cast<double>(std::max<int64_t>(pairs, 1));
  return problem;
}

// The same with a prior of three days.
Problem make_problem_with_prior(int64_t pairs, int64_t pool) {
  Problem problem = make_problem(pairs, pool);
  problem.inputs.positive_prior = torch::randn({pairs}).requires_grad_(true);
  problem.inputs.pool_prior = torch::randn({3, pool}).requires_grad_(true);
  problem.inputs.prior_row = torch::randint(3, {pairs}, torch::kInt64);
  return problem;
}

// The same with several vectors of each pair.
Problem make_problem_of_vectors(int64_t vectors, int64_t pairs, int64_t pool) {
  Problem problem = make_problem_with_prior(pairs, pool);
  problem.inputs.user = unit_rows(pairs * vectors, 8).view({pairs, vectors, 8}).detach();
  problem.inputs.user.requires_grad_(true);
  return problem;
}

// The same without a mask: what a pair must not be held against is its own positive.
Problem make_problem_of_items(int64_t pairs, int64_t pool, int64_t items) {
  Problem problem = make_problem(pairs, pool);
  problem.inputs.row = problem.inputs.mask = Tensor();
  problem.inputs.positive_item = torch::randint(items, {pairs}, torch::kInt64);
  problem.inputs.pool_item = torch::randint(items, {pool}, torch::kInt64);
  return problem;
}

// bool [P, N]
Tensor no_negatives(const SoftmaxInputs& in) {
  if (in.mask.defined()) return in.mask.index_select(0, in.row);
  return in.positive_item.unsqueeze(1).eq(in.pool_item.unsqueeze(0));
}

// loss = sum_i w_i (-l_0 + log(exp l_0 + sum_j exp l_j)), the definition and nothing else.
Tensor plain_loss(const SoftmaxInputs& in) {
  const bool several = in.user.dim() == 3;  // the largest of each pair's vectors
  Tensor own = several ? (in.user * in.positive.unsqueeze(1)).sum(2).amax(1)
                       : (in.user * in.positive).sum(1);
  Tensor scores = in.user.matmul(in.pool.t());
  if (several) scores = scores.amax(1);
  own = own * in.inverse_temperature - in.positive_log_q;
  scores = scores * in.inverse_temperature - in.pool_log_q;
  if (in.pool_prior.defined()) {
    own = own + in.positive_prior;
    scores = scores + in.pool_prior.index_select(0, in.prior_row);
  }
  const Tensor others =
      scores.masked_fill(no_negatives(in), -std::numeric_limits<double>::infinity());
  return ((torch::cat({own.unsqueeze(1), others}, 1).logsumexp(1) - own) * in.weight).sum();
}

SoftmaxInputs in_double(const SoftmaxInputs& in) {
  const auto leaf = [](const Tensor& t) {
    return t.detach().to(torch::kFloat64).requires_grad_(true);
  };
  SoftmaxInputs wide = in;
  wide.user = leaf(in.user);
  wide.positive = leaf(in.positive);
  wide.pool = leaf(in.pool);
  wide.inverse_temperature = leaf(in.inverse_temperature);
  if (in.pool_prior.defined()) {
    wide.positive_prior = leaf(in.positive_prior);
    wide.pool_prior = leaf(in.pool_prior);
  }
  wide.positive_log_q = in.positive_log_q.to(torch::kFloat64);
  wide.pool_log_q = in.pool_log_q.to(torch::kFloat64);
  wide.weight = in.weight.to(torch::kFloat64);
  return wide;
}

void expect_close(const Tensor& found, const Tensor& expected, double relative,
                  const std::string& what) {
  ASSERT_TRUE(found.defined()) << what;
  const double scale = expected.abs().max().item<double>();
  const double error = (found.to(torch::kFloat64) - expected).abs().max().item<double>();
  EXPECT_LE(error, relative * scale + 1e-12) << what << ", largest value " << scale;
}

// Loss and the gradient of everything that has one. The factor stands for a loss that goes on.
void expect_plain(const SoftmaxInputs& in, bool bf16, double relative) {
  const SoftmaxInputs wide = in_double(in);
  const Tensor expected = plain_loss(wide), found = sampled_softmax_loss(in, bf16);
  (expected * 3).backward();
  (found * 3).backward();
  expect_close(found, expected, relative, "loss");
  expect_close(in.user.grad(), wide.user.grad(), relative, "user");
  expect_close(in.positive.grad(), wide.positive.grad(), relative, "positive");
  expect_close(in.pool.grad(), wide.pool.grad(), relative, "pool");
  expect_close(in.inverse_temperature.grad(), wide.inverse_temperature.grad(), relative,
               "inverse temperature");
  if (!in.pool_prior.defined()) return;
  expect_close(in.positive_prior.grad(), wide.positive_prior.grad(), relative, "positive prior");
  expect_close(in.pool_prior.grad(), wide.pool_prior.grad(), relative, "pool prior");
}

TEST(SampledSoftmax, EqualsThePlainFormula) {
  for (const auto& [pairs, pool] : {std::pair<int64_t, int64_t>{1, 1}, {1, 50}, {40, 1}, {37, 211}})
    expect_plain(make_problem(pairs, pool).inputs, /*bf16=*/false, 5e-6);
}

TEST(SampledSoftmax, APriorIsAddedToTheLogits) {
  for (const auto& [pairs, pool] : {std::pair<int64_t, int64_t>{1, 1}, {37, 211}, {300, 8192}})
    expect_plain(make_problem_with_prior(pairs, pool).inputs, /*bf16=*/false, 2e-5);
}

TEST(SampledSoftmax, TheLargestOfSeveralVectorsCounts) {
  for (const auto& [vectors, pairs, pool] :
       {std::tuple<int64_t, int64_t, int64_t>{2, 1, 50}, {3, 37, 211}, {4, 300, 8192}})
    expect_plain(make_problem_of_vectors(vectors, pairs, pool).inputs, /*bf16=*/false, 2e-5);
  expect_plain(make_problem_of_vectors(3, 60, 300).inputs, /*bf16=*/true, 5e-2);
}

TEST(SampledSoftmax, OneVectorIsTheSameWithAndWithoutItsDimension) {
  const SoftmaxInputs in = make_problem_of_vectors(1, 37, 211).inputs;
  SoftmaxInputs flat = in;
  flat.user = in.user.detach().squeeze(1).requires_grad_(true);
  const Tensor one = sampled_softmax_loss(in, false), two = sampled_softmax_loss(flat, false);
  one.backward();
  two.backward();
  EXPECT_TRUE(torch::equal(one, two));
  EXPECT_TRUE(torch::equal(in.user.grad().squeeze(1), flat.user.grad()));
}

TEST(SampledSoftmax, SeveralVectorsAndNoPairsGiveAZero) {
  const SoftmaxInputs in = make_problem_of_vectors(3, 0, 10).inputs;
  const Tensor loss = sampled_softmax_loss(in, false);
  EXPECT_EQ(loss.item<float>(), 0);
  loss.backward();
  EXPECT_EQ(in.user.grad().sizes(), (std::vector<int64_t>{0, 3, 8}));
}

TEST(SampledSoftmax, WithoutAMaskOnlyThePairsOwnItemIsNoNegative) {
  for (const int64_t pairs : {1, 37, 513}) {
    const Problem problem = make_problem_of_items(pairs, 8192, 40);
    EXPECT_TRUE(no_negatives(problem.inputs).any().item<bool>());
    expect_plain(problem.inputs, /*bf16=*/false, 2e-5);
  }
}

// On the CPU 128 pairs of these pools make a chunk.
TEST(SampledSoftmax, ChunksAddUp) {
  for (const int64_t pairs : {512, 513})
    expect_plain(make_problem(pairs, 8192).inputs, /*bf16=*/false, 2e-5);
  expect_plain(make_problem(640, 13'192).inputs, /*bf16=*/false, 2e-5);
}

// One pair to a chunk. Most columns are masked, or float32 sums of millions of terms would be what
// is measured.
TEST(SampledSoftmax, PoolLargerThanAChunk) {
  constexpr int64_t kPool = (int64_t{1} << 22) + 1;
  Problem problem = make_problem(3, kPool, 4, 2);
  problem.inputs.mask = torch::rand({2, kPool}) < 0.9997;
  expect_plain(problem.inputs, /*bf16=*/false, 2e-5);
}

TEST(SampledSoftmax, SharpTemperatureAndSkewedLogQStayFinite) {
  Problem problem = make_problem(20, 30);
  problem.inputs.inverse_temperature = torch::tensor(100.0F).requires_grad_(true);
  problem.inputs.pool_log_q = -torch::rand({30}) * 20;
  problem.inputs.positive_log_q = -torch::rand({20}) * 20;
  expect_plain(problem.inputs, false, 2e-5);
}

TEST(SampledSoftmax, MaskedColumnsContributeNothing) {
  Problem problem = make_problem(30, 40);
  SoftmaxInputs& in = problem.inputs;
  in.mask = torch::zeros({problem.rows, 40}, torch::kBool);
  in.mask.narrow(1, 25, 15).fill_(true);
  const Tensor loss = sampled_softmax_loss(in, false);
  loss.backward();
  EXPECT_EQ(in.pool.grad().narrow(0, 25, 15).abs().max().item<float>(), 0);
  EXPECT_GT(in.pool.grad().narrow(0, 0, 25).abs().min().item<float>(), 0);

  SoftmaxInputs without = in;
  without.pool = in.pool.detach().narrow(0, 0, 25);
  without.pool_log_q = in.pool_log_q.narrow(0, 0, 25);
  without.mask = in.mask.narrow(1, 0, 25);
  EXPECT_NEAR(sampled_softmax_loss(without, false).item<float>(), loss.item<float>(), 1e-6);
}

TEST(SampledSoftmax, AllColumnsMaskedIsAZeroLossWithFiniteGradients) {
  Problem problem = make_problem(6, 9);
  problem.inputs.mask = torch::ones({problem.rows, 9}, torch::kBool);
  const Tensor loss = sampled_softmax_loss(problem.inputs, false);
  loss.backward();
  EXPECT_NEAR(loss.item<float>(), 0, 1e-7);
  EXPECT_NEAR(problem.inputs.user.grad().abs().max().item<float>(), 0, 1e-6);
  EXPECT_TRUE(problem.inputs.pool.grad().isfinite().all().item<bool>());
}

TEST(SampledSoftmax, NoPairsGiveAZeroThatStillReachesEveryInput) {
  const SoftmaxInputs in = make_problem(0, 10).inputs;
  const Tensor loss = sampled_softmax_loss(in, false);
  EXPECT_EQ(loss.item<float>(), 0);
  loss.backward();
  ASSERT_TRUE(in.user.grad().defined());
  ASSERT_TRUE(in.positive.grad().defined());
  ASSERT_TRUE(in.pool.grad().defined());
  ASSERT_TRUE(in.inverse_temperature.grad().defined());
  EXPECT_EQ(in.pool.grad().abs().max().item<float>(), 0);
  EXPECT_EQ(in.inverse_temperature.grad().item<float>(), 0);
}

TEST(SampledSoftmax, Bfloat16StaysNearAndSumsInFloat32) {
  expect_plain(make_problem(60, 300, 32).inputs, /*bf16=*/true, 3e-2);
  const SoftmaxInputs in = make_problem(60, 300, 32).inputs;
  EXPECT_EQ(sampled_softmax_loss(in, true).scalar_type(), torch::kFloat32);
  EXPECT_NE(sampled_softmax_loss(in, true).item<float>(),
            sampled_softmax_loss(in, false).item<float>());
}

// The product 1 is exact in bfloat16; 1 / 0.07 is not, it would become 14.3125.
TEST(SampledSoftmax, LogitsAreScaledInFloat32) {
  SoftmaxInputs in = make_problem(1, 1, 2).inputs;
  in.user = torch::tensor({{1.0F, 0.0F}});
  in.positive = torch::tensor({{0.0F, 1.0F}});
  in.pool = torch::tensor({{1.0F, 0.0F}});
  in.inverse_temperature = torch::tensor(1 / 0.07F);
  in.positive_log_q = torch::zeros({1});
  in.pool_log_q = torch::zeros({1});
  in.weight = torch::ones({1});
  in.mask = torch::Tensor();
  in.positive_item = torch::tensor({1}, torch::kInt64);
  in.pool_item = torch::tensor({0}, torch::kInt64);
  EXPECT_NEAR(sampled_softmax_loss(in, /*bf16=*/true).item<double>(),
              std::log1p(std::exp(1 / 0.07)), 1e-3);
}

// Its gradients lie in the memory that the first call has multiplied.
TEST(SampledSoftmax, ASecondBackwardIsRefused) {
  const SoftmaxInputs in = make_problem(5, 20).inputs;
  const Tensor loss = sampled_softmax_loss(in, /*bf16=*/false) * 2;
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST(SampledSoftmax, EmptyPoolIsRefused) {
  const SoftmaxInputs in = make_problem(3, 0).inputs;
  EXPECT_THROW(static_cast<void>(sampled_softmax_loss(in, false)), c10::Error);
}

// The plain formula itself, against finite differences.
TEST(SampledSoftmax, PlainFormulaHasTheGradientOfFiniteDifferences) {
  const SoftmaxInputs in = in_double(make_problem(7, 11, 5).inputs);
  plain_loss(in).backward();
  const torch::NoGradGuard no_grad;
  constexpr double kStep = 1e-6;
  for (const Tensor& leaf : {in.user, in.positive, in.pool, in.inverse_temperature}) {
    Tensor flat = leaf.view(-1);
    for (int64_t i = 0; i < flat.size(0); ++i) {
      const double value = flat[i].item<double>();
      flat[i] = value + kStep;
      const double above = plain_loss(in).item<double>();
      flat[i] = value - kStep;
      const double below = plain_loss(in).item<double>();
      flat[i] = value;
      EXPECT_NEAR(leaf.grad().view(-1)[i].item<double>(), (above - below) / (2 * kStep), 1e-7);
    }
  }
}

}  // namespace
}  // namespace pinnerformer
