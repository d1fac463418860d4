// Pointwise attention: both ways give what plain loops give, forward and backward.
#include "trainer/model/hstu_attention.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

constexpr int64_t kBatch = 3, kHeadCount = 2, kEvents = 9, kChannels = 4, kMostEvents = 12;
constexpr double kDivisor = 12;

struct Case {
  torch::Tensor queries = waves({kBatch, kHeadCount, kEvents, kChannels}, 0.7);
  torch::Tensor keys = waves({kBatch, kHeadCount, kEvents, kChannels}, 1.1);
  torch::Tensor values = waves({kBatch, kHeadCount, kEvents, kChannels}, 1.9);
  HstuBias bias{waves({kMostEvents}, 2.3), waves({kTimeBuckets}, 2.9)};
  // Gaps from none to months; the last user ends in padding, whose time is 0.
  torch::Tensor time =
      torch::exp(waves({kBatch, kEvents}, 0.5) * 8 + 8).to(torch::kInt64).cumsum(1);

  Case() { time[2].narrow(0, 6, 3).zero_(); }
  [[nodiscard]] std::vector<torch::Tensor> leaves() const {
    std::vector<torch::Tensor> all = {queries, keys, values, bias.position};
    if (bias.time.defined()) all.push_back(bias.time);
    return all;
  }
};

double silu(double x) { return x / (1 + std::exp(-x)); }

torch::Tensor by_loops(const Case& in) {
  torch::Tensor output = torch::zeros_like(in.values);
  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t h = 0; h < kHeadCount; ++h)
      for (int64_t i = 0; i < kEvents; ++i)
        for (int64_t j = 0; j <= i; ++j) {
          const auto seconds = in.time[b][i].item<int64_t>() - in.time[b][j].item<int64_t>();
          double score = in.queries[b][h][i].dot(in.keys[b][h][j]).item<double>() +
                         in.bias.position[i - j].item<double>();
          if (in.bias.time.defined()) score += in.bias.time[time_bucket(seconds)].item<double>();
          output[b][h][i] += in.values[b][h][j] * (silu(score) / kDivisor);
        }
  return output;
}

class HstuAttention : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Times, HstuAttention, testing::Bool());

TEST_P(HstuAttention, IsThatOfLoops) {
  Case in;
  if (!GetParam()) in.bias.time = torch::Tensor();
  const torch::Tensor expected = by_loops(in);
  EXPECT_GT(expected.abs().max().item<double>(), 0.1);
  for (const auto& way : {hstu_attention, hstu_attention_by_products}) {
    const torch::Tensor found = way(in.queries, in.keys, in.values, in.bias, in.time, kDivisor);
    EXPECT_LT((found - expected).abs().max().item<double>(), 1e-6);
  }
}

TEST_P(HstuAttention, BothWaysHaveTheSameGradients) {
  Case in;
  if (!GetParam()) in.bias.time = torch::Tensor();
  const torch::Tensor factor = waves({kBatch, kHeadCount, kEvents, kChannels}, 3.1);
  const auto gradients = [&](const auto& way) {
    std::vector<torch::Tensor> found;
    for (torch::Tensor& leaf : in.leaves()) {
      leaf.requires_grad_(true);
      leaf.mutable_grad() = torch::Tensor();
    }
    (way(in.queries, in.keys, in.values, in.bias, in.time, kDivisor) * factor).sum().backward();
    for (const torch::Tensor& leaf : in.leaves()) found.push_back(leaf.grad().clone());
    return found;
  };
  const auto one = gradients(hstu_attention), two = gradients(hstu_attention_by_products);
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_GT(one[i].abs().max().item<double>(), 1e-3) << i;
    EXPECT_LT((one[i] - two[i]).abs().max().item<double>(), 1e-5) << i;
  }
}

// So many events that the queries of a user are computed in several parts.
TEST(HstuAttentionOfManyEvents, IsThatOfProducts) {
  constexpr int64_t kLong = 400, kManyHeads = 4;
  std::vector<torch::Tensor> inputs = {
      waves({2, kManyHeads, kLong, 2}, 0.7), waves({2, kManyHeads, kLong, 2}, 1.1),
      waves({2, kManyHeads, kLong, 2}, 1.9), waves({kLong}, 2.3), waves({kTimeBuckets}, 2.9)};
  const torch::Tensor time = (torch::arange(2 * kLong).view({2, kLong}) * 977).remainder(90'000);
  const torch::Tensor ordered = time.cumsum(1), factor = waves({2, kManyHeads, kLong, 2}, 3.1);
  const auto results = [&](const auto& way) {
    for (torch::Tensor& input : inputs) {
      input.requires_grad_(true);
      input.mutable_grad() = torch::Tensor();
    }
    const torch::Tensor output =
        way(inputs[0], inputs[1], inputs[2], HstuBias{inputs[3], inputs[4]}, ordered, 400.0);
    (output * factor).sum().backward();
    std::vector<torch::Tensor> all = {output.detach()};
    for (const torch::Tensor& input : inputs) all.push_back(input.grad().clone());
    return all;
  };
  const auto one = results(hstu_attention), two = results(hstu_attention_by_products);
  for (size_t i = 0; i < one.size(); ++i)
    EXPECT_LT((one[i] - two[i]).abs().max().item<double>(),
              1e-5 * (1 + two[i].abs().max().item<double>()))
        << i;
}

TEST(HstuAttentionInBfloat16, IsComputedInFloat32) {
  const Case in;
  const torch::Tensor found =
      hstu_attention(in.queries.to(torch::kBFloat16), in.keys.to(torch::kBFloat16),
                     in.values.to(torch::kBFloat16), in.bias, in.time, kDivisor);
  EXPECT_EQ(found.scalar_type(), torch::kBFloat16);
  EXPECT_LT((found.to(torch::kFloat32) - by_loops(in)).abs().max().item<double>(), 2e-2);
}

TEST(HstuAttentionBuckets, TwoForEachDoubling) {
  EXPECT_EQ(time_bucket(-5), 0);
  EXPECT_EQ(time_bucket(0), 0);
  EXPECT_EQ(time_bucket(1), 0);
  EXPECT_EQ(time_bucket(2), 2);
  EXPECT_EQ(time_bucket(3), 3);
  EXPECT_EQ(time_bucket(4), 4);
  EXPECT_EQ(time_bucket(5), 4);
  EXPECT_EQ(time_bucket(6), 5);
  EXPECT_EQ(time_bucket(86400), 32);  // 2^16.4
  EXPECT_EQ(time_bucket(std::numeric_limits<int64_t>::max()), kTimeBuckets - 1);
}

TEST(HstuAttentionBuckets, StartWhereTheTableSays) {
  const auto starts = time_bucket_starts();
  for (int64_t b = 3; b < kTimeBuckets; ++b) {
    const int64_t start = starts[static_cast<size_t>(b)];
    EXPECT_EQ(time_bucket(start), b);
    EXPECT_EQ(time_bucket(start - 1), b - 1);
  }
}

}  // namespace
}  // namespace pinnerformer
