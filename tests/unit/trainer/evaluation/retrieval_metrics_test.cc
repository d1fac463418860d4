// Metrics against hand-computed values; the same bits on one rank and on several.
#include "trainer/evaluation/retrieval_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "comm/thread_communicator.h"
#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

const std::vector<int32_t> kNoTopics;

CaseScore score_of(int64_t user, const std::vector<double>& ranks) {
  CaseScore score{.user = user};
  for (const double rank : ranks) score.add_rank(rank);
  return score;
}

TEST(RetrievalMetricsTest, AHitIsARankBelowK) {
  const CaseScore score = score_of(1, {0, 9.5, 10, 49.5, 50});
  EXPECT_EQ(score.positives, 5);
  EXPECT_EQ(score.hits_at_10, 2);
  EXPECT_EQ(score.hits_at_50, 4);
  EXPECT_DOUBLE_EQ(score.gain_at_10, 1 + 1 / std::log2(11.5));
}

TEST(RetrievalMetricsTest, AveragesOverPositivesAndOverUsers) {
  const CandidateIndex index(10, 0, 1);
  RetrievalScores scores(index, kNoTopics);
  scores.add_case(score_of(3, {0, 20, 60}));  // user 3 has two windows: 2 of 4 within 10
  scores.add_case(score_of(3, {5}));
  scores.add_case(score_of(8, {11}));
  const RetrievalMetrics metrics = scores.metrics();
  EXPECT_DOUBLE_EQ(metrics.recall_at_10, 2.0 / 5);
  EXPECT_DOUBLE_EQ(metrics.recall_at_50, 4.0 / 5);
  EXPECT_DOUBLE_EQ(metrics.recall_at_10_per_user, (2.0 / 4 + 0) / 2);
  EXPECT_DOUBLE_EQ(metrics.ndcg_at_10, (1 + 1 / std::log2(7)) / 5);
  EXPECT_TRUE(std::isnan(metrics.interest_entropy_at_50));
  EXPECT_TRUE(std::isnan(metrics.p90_coverage_at_10));
}

TEST(RetrievalMetricsTest, EntropyIsInNatsOverKnownTopics) {
  const std::vector<int32_t> topics = {0, 0, 1, 1, -1, 2};
  EXPECT_DOUBLE_EQ(interest_entropy(std::vector<int32_t>{0, 1}, topics), 0);
  EXPECT_DOUBLE_EQ(interest_entropy(std::vector<int32_t>{0, 2, 4}, topics), std::log(2));
  EXPECT_DOUBLE_EQ(interest_entropy(std::vector<int32_t>{0, 1, 2, 5}, topics),
                   0.5 * std::log(2) + 0.5 * std::log(4));
  EXPECT_TRUE(std::isnan(interest_entropy(std::vector<int32_t>{4}, topics)));
  EXPECT_TRUE(std::isnan(interest_entropy(std::vector<int32_t>{0}, kNoTopics)));
}

TEST(RetrievalMetricsTest, CoverageIsTheSmallestShareWithNineTenths) {
  EXPECT_DOUBLE_EQ(p90_coverage({0, 90, 0, 10}), 0.25);  // exactly 90 % counts
  EXPECT_DOUBLE_EQ(p90_coverage({0, 89, 1, 10}), 0.5);
  EXPECT_DOUBLE_EQ(p90_coverage(std::vector<int64_t>(10, 7)), 0.9);
  EXPECT_DOUBLE_EQ(p90_coverage({5, 0, 0, 0, 0}), 0.2);
  EXPECT_TRUE(std::isnan(p90_coverage({0, 0})));
}

TEST(RetrievalMetricsTest, ListsFeedCoverageWith10AndEntropyWith50) {
  const CandidateIndex index(60, 0, 1);
  std::vector<int32_t> topics(60, 0);
  for (size_t i = 25; i < 60; ++i) topics[i] = 1;
  RetrievalScores scores(index, topics);
  std::vector<int32_t> list(60);
  for (size_t i = 0; i < list.size(); ++i) list[i] = static_cast<int32_t>(i);
  CaseScore score = score_of(0, {0});
  scores.add_list(list, score);
  scores.add_case(score);
  EXPECT_DOUBLE_EQ(scores.metrics().interest_entropy_at_50, std::log(2));  // 25 and 25
  EXPECT_DOUBLE_EQ(scores.metrics().p90_coverage_at_10, 9.0 / 60);
}

// 200 users with 1 to 4 positives each; `first` to `last` of them on this rank.
RetrievalScores random_scores(const CandidateIndex& index, const std::vector<int32_t>& topics,
                              int64_t first, int64_t last) {
  RetrievalScores scores(index, topics);
  for (int64_t user = first; user < last; ++user) {
    KeyedRandom random(RandomStream::kEvaluation, {user});
    CaseScore score{.user = user};
    for (int64_t i = 0; i <= user % 4; ++i) score.add_rank(static_cast<double>(random.below(80)));
    std::vector<int32_t> list;
    for (int i = 0; i < 12; ++i) list.push_back(static_cast<int32_t>(random.below(index.size())));
    scores.add_list(list, score);
    scores.add_case(score);
  }
  return scores;
}

TEST(RetrievalMetricsTest, BootstrapIsReproducibleAndNearTheBinomial) {
  const CandidateIndex index(30, 0, 1);
  RetrievalScores scores(index, kNoTopics);
  for (int64_t user = 0; user < 400; ++user)
    scores.add_case(score_of(user, {user % 4 == 0 ? 0.0 : 30.0}));
  const RetrievalMetrics errors = scores.standard_errors(500, 3);
  EXPECT_EQ(errors.recall_at_10, scores.standard_errors(500, 3).recall_at_10);
  EXPECT_NE(errors.recall_at_10, scores.standard_errors(500, 4).recall_at_10);
  // One positive per user, a quarter of them hit.
  EXPECT_NEAR(errors.recall_at_10, std::sqrt(0.25 * 0.75 / 400), 0.002);
  EXPECT_TRUE(std::isnan(errors.p90_coverage_at_10));
  EXPECT_TRUE(std::isnan(scores.standard_errors(0, 3).recall_at_10));
}

TEST(RetrievalMetricsTest, BootstrapResamplesUsersNotWindows) {
  // Ten windows of a user agree with each other: the error is that of 20 users, not of 200 cases.
  const CandidateIndex index(30, 0, 1);
  RetrievalScores scores(index, kNoTopics);
  for (int64_t user = 0; user < 20; ++user) {
    for (int window = 0; window < 10; ++window) {
      scores.add_case(score_of(user, {user % 2 == 0 ? 0.0 : 99.0}));
    }
  }
  EXPECT_NEAR(scores.standard_errors(500, 3).recall_at_10, std::sqrt(0.25 / 20), 0.02);
}

std::vector<double> bits_of(const RetrievalScores& scores) {
  const RetrievalMetrics m = scores.metrics();
  const RetrievalMetrics e = scores.standard_errors(50, 1);
  return {m.recall_at_10, m.recall_at_50,           m.recall_at_10_per_user,
          m.ndcg_at_10,   m.interest_entropy_at_50, m.p90_coverage_at_10,
          e.recall_at_10, e.interest_entropy_at_50};
}

TEST(RetrievalMetricsTest, SameBitsOnOneRankAndOnSeveral) {
  const CandidateIndex index(30, 0, 1);
  std::vector<int32_t> topics(30);
  for (size_t i = 0; i < topics.size(); ++i) topics[i] = static_cast<int32_t>(i % 7) - 1;
  RetrievalScores alone = random_scores(index, topics, 0, 200);
  alone.gather(*make_single_communicator());
  ASSERT_EQ(alone.cases().size(), 200U);
  const std::vector<double> expected = bits_of(alone);
  // The last rank of five has no users at all.
  const std::vector<int64_t> bounds = {0, 7, 120, 121, 200, 200};
  const auto comms = make_thread_communicators(5, 60);
  std::vector<std::vector<double>> found(5);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < 5; ++rank) {
    threads.emplace_back([&, rank] {
      RetrievalScores part = random_scores(index, topics, bounds[rank], bounds[rank + 1]);
      part.gather(*comms[rank]);
      found[rank] = bits_of(part);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<double>& bits : found) EXPECT_EQ(bits, expected);
}

}  // namespace
}  // namespace pinnerformer
