// What a split leaves to train on and to evaluate, counted by hand on a few users.
#include "dataloader/sampling/split_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataloader/sampling/split.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int64_t kStart = 1700006400;  // a midnight

// Every user has one save a day, on items 0, 1, ..., for ten days.
std::vector<EventRow> daily_saves(int64_t users) {
  std::vector<EventRow> rows;
  for (int64_t user = 1; user <= users; ++user)
    for (int64_t day = 0; day < 10; ++day)
      rows.push_back({.user = user, .item = day, .action = "save", .time = kStart + day * kDay});
  return rows;
}

// Users with one event each, early and late: the data are long enough for a window.
std::vector<EventRow> ends_of_the_data() {
  return {{.user = 8, .item = 0, .action = "view", .time = kStart - 30 * kDay},
          {.user = 9, .item = 0, .action = "view", .time = kStart + 30 * kDay}};
}

class SplitSummaryTest : public testing::Test {
 protected:
  SplitSummary summarize(const std::vector<EventRow>& rows,
                         std::optional<int64_t> window_seconds = kDay, int64_t window_events = 0) {
    const Dataset dataset = Dataset::open(write_dataset(directory_.path(), rows));
    const PositiveOptions saves{.actions = {"save"}, .surfaces = {}};
    return summarize_split(dataset, PositiveRule(saves, dataset), split_,
                           {.window_seconds = window_seconds,
                            .window_events = window_events,
                            .recent_seconds = recent_seconds_,
                            .exclude_seen = exclude_seen_});
  }

  TemporaryDirectory directory_;
  SplitOptions split_{.users_percent = 40, .window_days = 3, .windows = 1, .min_events = 2};
  bool exclude_seen_ = false;
  int64_t recent_seconds_ = 0;
};

// Days 8 and 9 repeat the item of day 1.
TEST_F(SplitSummaryTest, ItemsThatAUserHadAreNoPositivesWhereTheyAreExcluded) {
  std::vector<EventRow> rows = daily_saves(50);
  for (EventRow& row : rows)
    if (row.item >= 8) row.item = 1;
  for (const SplitProtocol protocol : {SplitProtocol::kWindows, SplitProtocol::kLeaveOneOut}) {
    split_.protocol = protocol;
    exclude_seen_ = false;
    const SplitSummary all = summarize(rows);
    exclude_seen_ = true;
    const SplitSummary fresh = summarize(rows);
    ASSERT_GT(all.held_out_users, 0);
    EXPECT_EQ(fresh.evaluated_positives, all.evaluated_positives - all.held_out_users);
    EXPECT_EQ(fresh.labelled_positions, all.labelled_positions) << "training counts repeats";
  }
}

TEST_F(SplitSummaryTest, CountsUsersPositionsAndPositives) {
  const SplitSummary summary = summarize(daily_saves(50));
  EXPECT_EQ(summary.users, 50);
  EXPECT_EQ(summary.dataset_users, 50);
  EXPECT_EQ(summary.train_until, kStart + 6 * kDay);
  EXPECT_GT(summary.held_out_users, 0);
  EXPECT_EQ(summary.held_out_users + summary.training_users, 50);
  EXPECT_EQ(summary.evaluated_users, summary.held_out_users);
  EXPECT_EQ(summary.evaluated_positives, 3 * summary.held_out_users) << "days 7, 8 and 9";
  EXPECT_EQ(summary.labelled_users, summary.training_users);
  EXPECT_EQ(summary.positions, 7 * summary.training_users) << "days 0 to 6";
  EXPECT_EQ(summary.labelled_positions, 6 * summary.training_users) << "all but the last";
}

TEST_F(SplitSummaryTest, ALabelLiesWithinTheWindow) {
  EXPECT_EQ(summarize(daily_saves(20), kDay - 1).labelled_positions, 0);
}

// A basket: what is bought in one second predicts nothing of that second, in training either.
TEST_F(SplitSummaryTest, PositivesOfTheSameSecondAreNoLabels) {
  split_.users_percent = 0;
  std::vector<EventRow> rows = ends_of_the_data();
  for (int64_t item = 0; item < 5; ++item)
    rows.push_back({.user = 1, .item = item, .action = "save", .time = kStart});
  SplitSummary summary = summarize(rows);
  EXPECT_EQ(summary.labelled_positions, 0);
  EXPECT_EQ(summary.labelled_users, 0);
  rows.push_back({.user = 1, .item = 9, .action = "save", .time = kStart + 5});
  summary = summarize(rows);
  EXPECT_EQ(summary.labelled_positions, 5);
}

TEST_F(SplitSummaryTest, AnObjectiveWithoutWindowHasLabelsAtAnyDistance) {
  split_.users_percent = 0;
  const std::vector<EventRow> rows = {
      {.user = 1, .item = 0, .action = "save", .time = kStart},
      {.user = 1, .item = 1, .action = "save", .time = kStart + 300 * kDay}};
  EXPECT_EQ(summarize(rows).labelled_positions, 0);
  EXPECT_EQ(summarize(rows, std::nullopt).labelled_positions, 1);
}

// A save, two views within one second a year later, and a save after them.
TEST_F(SplitSummaryTest, AWindowOfEventsCountsThoseOfLaterSeconds) {
  split_.users_percent = 0;
  const int64_t year = kStart + 365 * kDay;
  const std::vector<EventRow> rows = {{.user = 1, .item = 0, .action = "save", .time = kStart},
                                      {.user = 1, .item = 1, .action = "view", .time = year},
                                      {.user = 1, .item = 2, .action = "view", .time = year},
                                      {.user = 1, .item = 3, .action = "save", .time = year + 1}};
  EXPECT_EQ(summarize(rows, 0, 1).labelled_positions, 2) << "from both views";
  EXPECT_EQ(summarize(rows, 0, 2).labelled_positions, 2);
  EXPECT_EQ(summarize(rows, 0, 3).labelled_positions, 3);
}

TEST_F(SplitSummaryTest, UsersWithOneEventAreNotTrainedOn) {
  split_.users_percent = 0;
  std::vector<EventRow> rows = ends_of_the_data();
  rows.push_back({.user = 1, .item = 0, .action = "save", .time = kStart});
  rows.push_back({.user = 2, .item = 0, .action = "save", .time = kStart});
  rows.push_back({.user = 2, .item = 1, .action = "save", .time = kStart + kDay});
  EXPECT_EQ(summarize(rows).training_users, 1);
}

TEST_F(SplitSummaryTest, ALateEventLeavesNothingToEvaluateUntilTheEndIsSet) {
  std::vector<EventRow> rows = daily_saves(50);
  rows.push_back({.user = 1, .item = 0, .action = "save", .time = kStart + 9000 * kDay});
  const SplitSummary moved = summarize(rows);
  EXPECT_LE(moved.evaluated_users, 1);
  EXPECT_GE(moved.positions, 10 * moved.training_users - 1) << "training saw the test events";
  split_.end = "2023-11-24";  // day 9
  const SplitSummary set = summarize(rows);
  EXPECT_EQ(set.train_until, kStart + 6 * kDay);
  EXPECT_EQ(set.evaluated_positives, 3 * set.held_out_users);
  EXPECT_EQ(set.positions, 7 * set.training_users);
}

TEST_F(SplitSummaryTest, LeaveOneOutHoldsOutTheLastEvents) {
  split_ = {.users_percent = 100, .min_events = 2, .protocol = SplitProtocol::kLeaveOneOut};
  const SplitSummary summary = summarize(daily_saves(10));
  EXPECT_EQ(summary.held_out_users, 10);
  EXPECT_EQ(summary.evaluated_positives, 10);
  EXPECT_EQ(summary.training_users, 10);
  EXPECT_EQ(summary.positions, 80);
}

TEST_F(SplitSummaryTest, ValidationUsersAreCountedApart) {
  split_.validation_percent = 30;
  const SplitSummary summary = summarize(daily_saves(50));
  EXPECT_GT(summary.validation_users, 0);
  EXPECT_EQ(summary.held_out_users + summary.validation_users + summary.training_users, 50);
  EXPECT_EQ(summary.validated_positives, 3 * summary.validation_users);
  EXPECT_THAT(describe_split(summary),
              HasSubstr("validation: " + std::to_string(summary.validation_users) + " users"));
}

TEST_F(SplitSummaryTest, LeaveOutOneTrainsOnAllButTheLastEvent) {
  split_ = {.users_percent = 100,
            .min_events = 2,
            .protocol = SplitProtocol::kLeaveOneOut,
            .leave_out = 1};
  EXPECT_EQ(summarize(daily_saves(10)).positions, 90);
}

TEST_F(SplitSummaryTest, TextNamesTheFiguresAndWarns) {
  SplitSummary summary = summarize(daily_saves(50));
  EXPECT_THAT(describe_split(summary),
              testing::AllOf(HasSubstr("and 85.7 % of all positions have a label"),
                             HasSubstr("up to 2023-11-21T00:00:00Z"), Not(HasSubstr("warning"))));
  summary.evaluated_users = 0;
  EXPECT_THAT(describe_split(summary), HasSubstr("warning: nothing could be evaluated"));
  summary.labelled_users = 1;
  EXPECT_THAT(describe_split(summary), HasSubstr("warning: fewer than one in 20 training users"));
}

// Training ends with day 6: the days before are of no use where samples end in its last day.
TEST_F(SplitSummaryTest, OnlyRecentPositionsCanEndASample) {
  const SplitSummary all = summarize(daily_saves(50));
  recent_seconds_ = kDay;
  const SplitSummary recent = summarize(daily_saves(50));
  EXPECT_EQ(all.timely_users, all.training_users);
  EXPECT_EQ(recent.positions, all.positions);
  EXPECT_EQ(recent.labelled_users, recent.training_users);
  EXPECT_EQ(recent.labelled_positions, recent.training_users) << "day 5, labelled by day 6";
}

}  // namespace
}  // namespace pinnerformer
