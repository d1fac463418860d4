// Which events are history, which are positives: the edges of t and of the window, repeats, leaks.
#include "trainer/evaluation/evaluation_cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct Event {
  int64_t time;
  int32_t item;
  bool click = true;
};

std::shared_ptr<const Timeline> timeline_of(const std::vector<Event>& events) {
  auto timeline = std::make_shared<Timeline>();
  timeline->user = 4;
  for (const Event& event : events) {
    timeline->time.push_back(event.time);
    timeline->item.push_back(event.item);
    timeline->action.push_back(event.click ? 1 : 0);
    timeline->surface.push_back(0);
    timeline->duration.push_back(1);
  }
  return timeline;
}

PositiveRule clicks(bool first_only = false) {
  return {{.actions = {"click"}, .surfaces = {}, .first_only = first_only},
          {"view", "click"},
          {"home"}};
}

const std::vector<EvaluationWindow> kWindow = {{.begin = 100, .end = 200}};

TEST(EvaluationCasesTest, StrictAtTheStartInclusiveAtTheEnd) {
  const auto timeline = timeline_of({{50, 1}, {100, 2}, {101, 3}, {200, 4}, {201, 5}});
  const auto cases = cases_of_user(timeline, clicks(), kWindow, 1);
  ASSERT_THAT(cases, SizeIs(1));
  EXPECT_EQ(cases[0].time, 100);
  EXPECT_EQ(cases[0].length, 2);
  EXPECT_THAT(cases[0].seen, ElementsAre(1, 2));
  EXPECT_THAT(cases[0].positives, ElementsAre(3, 4));
  EXPECT_THAT(cases[0].events, ElementsAre(2, 3));
}

TEST(EvaluationCasesTest, RepeatedItemsCountOnceAtTheirFirstPositiveEvent) {
  const auto timeline =
      timeline_of({{50, 7}, {60, 7}, {110, 9, false}, {120, 8}, {130, 9}, {140, 8}, {150, 7}});
  const auto cases = cases_of_user(timeline, clicks(), kWindow, 1);
  ASSERT_THAT(cases, SizeIs(1));
  EXPECT_THAT(cases[0].seen, ElementsAre(7));
  EXPECT_THAT(cases[0].positives, ElementsAre(8, 9, 7));
  EXPECT_THAT(cases[0].events, ElementsAre(3, 4, 6));
  // With first_only item 7 is old and item 9 was viewed before its click.
  const auto firsts = cases_of_user(timeline, clicks(/*first_only=*/true), kWindow, 1);
  ASSERT_THAT(firsts, SizeIs(1));
  EXPECT_THAT(firsts[0].positives, ElementsAre(8));
}

TEST(EvaluationCasesTest, UsersNeedHistoryAndAPositive) {
  const auto timeline = timeline_of({{50, 1}, {60, 2}, {150, 3}});
  EXPECT_THAT(cases_of_user(timeline, clicks(), kWindow, 2), SizeIs(1));
  EXPECT_THAT(cases_of_user(timeline, clicks(), kWindow, 3), IsEmpty());
  const auto viewer = timeline_of({{50, 1}, {60, 2}, {150, 3, false}});
  EXPECT_THAT(cases_of_user(viewer, clicks(), kWindow, 2), IsEmpty());
}

TEST(EvaluationCasesTest, ConsecutiveWindowsShareNoPositive) {
  const auto timeline = timeline_of({{50, 1}, {150, 2}, {200, 3}, {201, 4}, {300, 5}});
  const std::vector<EvaluationWindow> windows = {{.begin = 100, .end = 200},
                                                 {.begin = 200, .end = 300}};
  const auto cases = cases_of_user(timeline, clicks(), windows, 1);
  ASSERT_THAT(cases, SizeIs(2));
  EXPECT_THAT(cases[0].positives, ElementsAre(2, 3));
  EXPECT_EQ(cases[1].window, 1);
  EXPECT_EQ(cases[1].length, 3);
  EXPECT_THAT(cases[1].seen, ElementsAre(1, 2, 3));
  EXPECT_THAT(cases[1].positives, ElementsAre(4, 5));
}

TEST(EvaluationCasesTest, LeaveOneOutTestsTheLastEvent) {
  const auto timeline = timeline_of({{50, 5}, {60, 2}, {60, 5}, {60, 3}});
  const auto cases = leave_one_out_case(timeline, clicks(), 3);
  ASSERT_THAT(cases, SizeIs(1));
  EXPECT_EQ(cases[0].length, 3);
  EXPECT_EQ(cases[0].time, 60);
  EXPECT_THAT(cases[0].positives, ElementsAre(3));
  EXPECT_THAT(cases[0].events, ElementsAre(3));
  EXPECT_THAT(cases[0].seen, ElementsAre(2, 5));
  EXPECT_THAT(leave_one_out_case(timeline, clicks(), 4), IsEmpty());
  EXPECT_THAT(leave_one_out_case(timeline_of({{1, 1}}), clicks(), 0), IsEmpty());
  EXPECT_THAT(leave_one_out_case(timeline_of({{1, 1}, {2, 2, false}}), clicks(), 1), IsEmpty());
}

}  // namespace
}  // namespace pinnerformer
