// The CPU's softmax of a chunk against float64, and what a GPU's threads do against the CPU.
#include "trainer/objective/softmax_rows.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "trainer/objective/softmax_row.h"

namespace pinnerformer {
namespace {

using torch::Tensor;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// `spread`: the logits lie within about 3 * spread of 0.
SoftmaxRows make_rows(int64_t pairs, int64_t columns, double spread = 3) {
  torch::manual_seed(static_cast<uint64_t>(pairs * 1000 + columns));
  SoftmaxRows rows;
  rows.products = torch::randn({pairs, columns});
  rows.scale = torch::tensor(static_cast<float>(spread));
  rows.log_q = -torch::rand({columns}) * 4;
  rows.mask = torch::rand({2, columns}) < 0.2;
  rows.mask_row = torch::randint(2, {pairs}, torch::kInt64);
  rows.positive_logit = torch::randn({pairs}) * spread;
  rows.weight = torch::rand({pairs});
  rows.normaliser = torch::empty({pairs});
  rows.pull = torch::empty({pairs, columns});
  return rows;
}

void give_prior(SoftmaxRows& rows) {
  rows.prior = torch::randn({3, rows.products.size(1)});
  rows.prior_row = torch::randint(3, {rows.products.size(0)}, torch::kInt64);
}

void mask_by_item(SoftmaxRows& rows) {
  rows.mask = rows.mask_row = Tensor();
  rows.positive_item = torch::randint(5, {rows.products.size(0)}, torch::kInt64);
  rows.pool_item = torch::randint(5, {rows.products.size(1)}, torch::kInt64);
}

// float64 [p, N], masked columns -inf.
Tensor logits_of(const SoftmaxRows& rows) {
  Tensor logits = rows.products.to(torch::kFloat64) * rows.scale - rows.log_q;
  if (rows.prior.defined()) logits = logits + rows.prior.index_select(0, rows.prior_row);
  return logits.masked_fill(rows.mask.defined()
                                ? rows.mask.index_select(0, rows.mask_row)
                                : rows.positive_item.unsqueeze(1).eq(rows.pool_item.unsqueeze(0)),
                            -kInfinity);
}

void expect_definition(const SoftmaxRows& rows, double relative = 3e-6) {
  const Tensor logits = logits_of(rows);
  const Tensor normaliser =
      torch::cat({rows.positive_logit.to(torch::kFloat64).unsqueeze(1), logits}, 1).logsumexp(1);
  softmax_rows(rows);
  EXPECT_LE((rows.normaliser - normaliser).abs().max().item<double>(),
            1e-6 * (1 + normaliser.abs().max().item<double>()));
  const Tensor pull = (logits - normaliser.unsqueeze(1)).exp() * rows.weight.unsqueeze(1);
  const Tensor error = (rows.pull.to(torch::kFloat64) - pull).abs();
  // What is below e^-87 of the largest logit may be 0.
  EXPECT_TRUE((error <= relative * (1 + logits.abs().nan_to_num(0, 0, 0)) * pull + 1e-37)
                  .all()
                  .item<bool>());
}

TEST(SoftmaxRows, AreWhatTheFormulaSays) {
  for (const int64_t columns : {1, 15, 16, 17, 1024, 13'192}) {
    expect_definition(make_rows(7, columns));
    SoftmaxRows rows = make_rows(7, columns);
    give_prior(rows);
    expect_definition(rows);
    mask_by_item(rows);
    expect_definition(rows);
  }
}

TEST(SoftmaxRows, LogitsOfAnySizeOverflowNowhere) {
  for (const double spread : {1e-6, 30., 200., 1e4}) expect_definition(make_rows(9, 500, spread));
}

TEST(SoftmaxRows, WithoutNegativesThePositiveIsCertain) {
  SoftmaxRows rows = make_rows(3, 40);
  rows.mask.fill_(true);
  softmax_rows(rows);
  EXPECT_TRUE(torch::allclose(rows.normaliser, rows.positive_logit));
  EXPECT_EQ(rows.pull.abs().max().item<float>(), 0);
}

TEST(SoftmaxRows, ThePullMayLieInTheMemoryOfTheProducts) {
  const SoftmaxRows apart = make_rows(7, 100);
  SoftmaxRows same = apart;
  same.products = same.pull = apart.products.clone();
  same.normaliser = torch::empty({7});
  softmax_rows(apart);
  softmax_rows(same);
  EXPECT_TRUE(torch::equal(same.pull, apart.pull));
}

TEST(SoftmaxRows, Bfloat16IsReadAndWrittenAsItIs) {
  SoftmaxRows rows = make_rows(7, 100);
  rows.products = rows.products.to(torch::kBFloat16);
  expect_definition(rows);
  rows.pull = rows.pull.to(torch::kBFloat16);
  expect_definition(rows, 1. / 256);
}

// A gradient that is not finite has to reach the check of the step.
TEST(SoftmaxRows, WhatIsNotFiniteStaysVisible) {
  for (const float bad : {std::nanf(""), kInfinity}) {
    for (const int64_t column : {3, 98}) {
      SoftmaxRows rows = make_rows(2, 100);
      rows.mask.fill_(false);
      rows.products[1][column] = bad;
      softmax_rows(rows);
      EXPECT_TRUE(std::isfinite(rows.normaliser[0].item<float>()));
      EXPECT_TRUE(rows.pull[1].isnan().any().item<bool>()) << bad << ", column " << column;
    }
    SoftmaxRows rows = make_rows(2, 100);
    rows.positive_logit[1] = bad;
    softmax_rows(rows);
    EXPECT_FALSE(
        std::isfinite(rows.normaliser[1].item<float>() - rows.positive_logit[1].item<float>()));
  }
}

TEST(SoftmaxRows, ATensorWithGapsIsRefused) {
  SoftmaxRows rows = make_rows(3, 40);
  rows.mask = torch::zeros({2, 80}, torch::kBool).narrow(1, 0, 40);
  EXPECT_THROW(softmax_rows(rows), c10::Error);
}

// The threads of a GPU's block: each adds its columns, then their sums are added in pairs.
TEST(SoftmaxRows, ThreadsOfABlockGiveTheSame) {
  constexpr int64_t kThreads = 256;
  for (const auto& [columns, spread] :
       {std::pair<int64_t, double>{1, 1}, {200, 30}, {1000, 1}, {1000, 30}}) {
    SoftmaxRows rows = make_rows(1, columns, spread);
    give_prior(rows);
    softmax_rows(rows);
    const SoftmaxRow row{
        .scale = rows.scale.item<float>(),
        .log_q = rows.log_q.data_ptr<float>(),
        .prior = rows.prior.data_ptr<float>() + rows.prior_row.item<int64_t>() * columns,
        .masked = rows.mask.data_ptr<bool>() + rows.mask_row.item<int64_t>() * columns};
    const float* products = rows.products.data_ptr<float>();
    std::vector<SoftmaxSum> sums;
    for (int64_t thread = 0; thread < kThreads; ++thread)
      sums.push_back(softmax_sum(products, row, thread, kThreads, columns));
    sums[0].add(rows.positive_logit.item<float>());
    for (size_t half = kThreads / 2; half > 0; half /= 2)
      for (size_t thread = 0; thread < half; ++thread) sums[thread].add(sums[thread + half]);
    EXPECT_NEAR(sums[0].log(), rows.normaliser.item<float>(), 1e-4);
    Tensor pull = torch::empty({columns});
    for (int64_t thread = 0; thread < kThreads; ++thread)
      softmax_pull(pull.data_ptr<float>(), products, row, sums[0].log(), rows.weight.item<float>(),
                   thread, kThreads, columns);
    EXPECT_TRUE(torch::allclose(pull, rows.pull[0], 1e-4, 1e-9)) << columns;
  }
}

}  // namespace
}  // namespace pinnerformer
