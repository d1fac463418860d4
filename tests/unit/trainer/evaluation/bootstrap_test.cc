// Intervals and paired differences on users whose true figures are known.
#include "trainer/evaluation/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>

#include "dataloader/base/random.h"
#include "trainer/evaluation/retrieval_metrics.h"

namespace pinnerformer {
namespace {

constexpr Metric kRecall = &RetrievalMetrics::recall_at_10;
constexpr int64_t kResamples = 400;

// One positive per user, found by chance: `luck` moves every user's chance of a hit, `draw` says
// which users are hit.
std::vector<MetricSums> lucky_users(int64_t count, double chance, int64_t draw) {
  std::vector<CaseScore> cases;
  for (int64_t user = 0; user < count; ++user) {
    KeyedRandom random(RandomStream::kEvaluation, {user, draw});
    CaseScore score{.user = user};
    score.add_rank(random.uniform() < chance ? 0 : 90);
    cases.push_back(score);
  }
  return sums_by_user(cases);
}

RetrievalMetrics total_of(const std::vector<MetricSums>& users) {
  MetricSums total;
  for (const MetricSums& user : users) total.add(user);
  return total.metrics();
}

Difference compare(const std::vector<MetricSums>& method, const std::vector<MetricSums>& model) {
  return difference(total_of(method), resample({method}, kResamples, 1), total_of(model),
                    resample({model}, kResamples, 1), kRecall);
}

TEST(BootstrapTest, TheIntervalHasTheWidthOfTheBinomial) {
  const auto users = lucky_users(1000, 0.3, 0);
  const double recall = total_of(users).recall_at_10;
  const Interval interval = interval_95(resample({users}, 2000, 1), kRecall);
  const double error = std::sqrt(recall * (1 - recall) / 1000);
  EXPECT_NEAR(interval.low, recall - 1.96 * error, 0.004);
  EXPECT_NEAR(interval.high, recall + 1.96 * error, 0.004);
}

TEST(BootstrapTest, TooFewResamplesHaveNoInterval) {
  const Interval interval = interval_95(resample({lucky_users(50, 0.5, 0)}, 39, 1), kRecall);
  EXPECT_TRUE(std::isnan(interval.low));
  EXPECT_TRUE(std::isnan(interval.high));
}

// Both methods hit the same users but for thirty: apart their intervals overlap, paired they do
// not.
TEST(BootstrapTest, PairingFindsWhatSeparateIntervalsHide) {
  const auto model = lucky_users(1000, 0.3, 0);
  auto method = model;
  int64_t changed = 0;
  for (MetricSums& user : method)
    if (user.hits_at_10 == 1 && changed < 30) {
      user.hits_at_10 = 0;
      ++changed;
    }
  const Interval ours = interval_95(resample({model}, kResamples, 1), kRecall);
  const Interval theirs = interval_95(resample({method}, kResamples, 1), kRecall);
  EXPECT_LT(ours.low, theirs.high);
  const Difference found = compare(method, model);
  EXPECT_NEAR(found.value, -0.03, 1e-12);
  EXPECT_LT(found.interval.low, -0.03);
  EXPECT_GT(found.interval.high, -0.03);
  EXPECT_EQ(found.model_is_better, Verdict::kHolds);
  EXPECT_EQ(compare(model, method).model_is_better, Verdict::kDoesNot);
}

TEST(BootstrapTest, EqualMethodsCannotBeTold) {
  EXPECT_EQ(compare(lucky_users(500, 0.3, 1), lucky_users(500, 0.3, 2)).model_is_better,
            Verdict::kCannotBeTold);
}

// Users are the same under all seeds, and the runs differ: only resampling runs too shows it.
TEST(BootstrapTest, RunsAreResampledWithTheUsers) {
  const auto good = lucky_users(4000, 0.4, 0);
  const auto bad = lucky_users(4000, 0.2, 0);
  const double one = spread(resample({good}, kResamples, 1)).recall_at_10;
  const auto both = resample({good, bad}, kResamples, 1);
  // The mean of two draws of .2 and .4 has a standard deviation of .1 / √2.
  EXPECT_NEAR(spread(both).recall_at_10, 0.0707, 0.01);
  EXPECT_LT(one, 0.01);
  EXPECT_NEAR(mean_of(both).recall_at_10, 0.3, 0.015);
}

}  // namespace
}  // namespace pinnerformer
