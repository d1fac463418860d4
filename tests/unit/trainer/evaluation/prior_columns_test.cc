// The popularity prior as columns: a dot product has the log counts of the vector's own day.
#include "trainer/evaluation/prior_columns.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/thread_communicator.h"
#include "dataloader/sampling/positives.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

const PositiveOptions kSaves{.actions = {"save"}, .surfaces = {}};
const std::vector<int64_t> kWindows = {1, 7};

// Positives of every item in the `days` days up to `end`, by going through all events.
torch::Tensor plain_log_counts(const Dataset& dataset, int64_t end, int64_t days) {
  const PositiveRule rule(kSaves, dataset);
  torch::Tensor counts = torch::zeros({dataset.items()});
  for (int64_t user = 0; user < dataset.users(); ++user) {
    const Timeline timeline = dataset.timeline(user);
    const std::vector<uint8_t> marks = rule.mark(timeline);
    for (size_t i = 0; i < marks.size(); ++i)
      if (marks[i] != 0 && timeline.time[i] > end - days * kDay && timeline.time[i] <= end)
        counts[timeline.item[i]] += 1;
  }
  return counts.log1p();
}

TEST(PriorColumnsSpan, BeginsTheDelayBeforeTheFirstWindowAndEndsWithTheLast) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_tiny_dataset(directory.path(), 47));
  const SplitOptions split{.window_days = 2.5, .windows = 3};
  const PriorSpan span = prior_span(dataset, split, /*delay_days=*/0);
  EXPECT_EQ(span.first, dataset.last_time() - 15 * kDay / 2);
  EXPECT_EQ(span.days, 7);
  const PriorSpan delayed = prior_span(dataset, split, /*delay_days=*/2);
  EXPECT_EQ(delayed.first, span.first - 2 * kDay);
  EXPECT_EQ(delayed.days, 9);
}

class PriorColumnsTest : public testing::Test {
 protected:
  // Scores of all items for a vector that is made `days` days after the first of the span, less
  // those without a prior.
  [[nodiscard]] torch::Tensor added_scores(double days) const {
    const HistoryPrefix prefix{
        .timeline = nullptr,
        .length = 0,
        .time = first_ + static_cast<int64_t>(days * static_cast<double>(kDay))};
    const torch::Tensor user = columns_.append_to_users(users_.slice(0, 0, 1), {prefix}, weights_);
    const torch::Tensor items = columns_.append_to_items(items_, torch::arange(dataset_.items()));
    return items.matmul(user[0]) - items_.matmul(users_[0]);
  }
  [[nodiscard]] torch::Tensor expected(int64_t day) const {
    const int64_t end = first_ + day * kDay;
    return .5 * plain_log_counts(dataset_, end, 1) - 2 * plain_log_counts(dataset_, end, 7);
  }

  TemporaryDirectory directory_;
  Dataset dataset_ = Dataset::open(write_tiny_dataset(directory_.path(), 47));
  std::unique_ptr<Communicator> comm_ = make_single_communicator();
  int64_t first_ = dataset_.last_time() - 20 * kDay;
  PriorColumns columns_{dataset_, kSaves, {.first = first_, .days = 3}, kWindows, *comm_};
  torch::Tensor weights_ = torch::tensor({.5F, -2.F});
  torch::Tensor users_ = torch::tensor({{1.F, 2.F}, {-1.F, .5F}});
  torch::Tensor items_ = torch::stack(
      {torch::arange(dataset_.items()).to(torch::kFloat32), torch::ones({dataset_.items()})}, 1);
};

TEST_F(PriorColumnsTest, AVectorHasTheCountsOfItsOwnDay) {
  EXPECT_EQ(columns_.width(), 4 * 2) << "days 0 to 3, two windows each";
  for (const int64_t day : {0, 1, 2, 3}) {
    EXPECT_GT(expected(day).abs().sum().item<float>(), 1);
    EXPECT_FALSE(torch::allclose(expected(day), expected(day + 1)));
    EXPECT_TRUE(torch::allclose(added_scores(static_cast<double>(day)), expected(day), 1e-4, 1e-4));
    EXPECT_TRUE(
        torch::allclose(added_scores(static_cast<double>(day) + .5), expected(day), 1e-4, 1e-4));
  }
}

TEST_F(PriorColumnsTest, TimesOutsideTheSpanCountAsItsEnds) {
  EXPECT_TRUE(torch::allclose(added_scores(-2), expected(0), 1e-4, 1e-4));
  EXPECT_TRUE(torch::allclose(added_scores(9), expected(3), 1e-4, 1e-4));
}

TEST_F(PriorColumnsTest, EveryVectorOfAUserHasThem) {
  const std::vector<HistoryPrefix> prefixes = {
      {.timeline = nullptr, .length = 0, .time = first_ + kDay},
      {.timeline = nullptr, .length = 0, .time = first_ + 3 * kDay}};
  const torch::Tensor several = torch::stack({users_, 3 * users_, -users_}, 1);  // [2, 3, 2]
  const torch::Tensor found = columns_.append_to_users(several, prefixes, weights_);
  ASSERT_EQ(found.sizes(), (std::vector<int64_t>{2, 3, 2 + columns_.width()}));
  for (int64_t k = 0; k < 3; ++k)
    EXPECT_TRUE(torch::equal(found.select(1, k),
                             columns_.append_to_users(several.select(1, k), prefixes, weights_)));
}

TEST_F(PriorColumnsTest, ItemsHaveTheirOwnCounts) {
  const torch::Tensor all = columns_.append_to_items(items_, torch::arange(dataset_.items()));
  const torch::Tensor some = torch::tensor({7, 3, 11}, torch::kInt64);
  EXPECT_TRUE(torch::equal(columns_.append_to_items(items_.index_select(0, some), some),
                           all.index_select(0, some)));
}

}  // namespace
}  // namespace pinnerformer
