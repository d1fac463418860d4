// Which vector serves which positive, and that no vector has seen what it is asked for.
#include "trainer/evaluation/inference_frequency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

#include "dataloader/base/enum_name.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

constexpr int64_t kStart = 10 * kDay + 55;  // t need not be midnight

// A case at kStart from the times of the events; item = position, every later event is a positive.
EvaluationCase case_of(const std::vector<int64_t>& times) {
  auto timeline = std::make_shared<Timeline>();
  EvaluationCase evaluation;
  evaluation.time = kStart;
  for (const int64_t time : times) {
    const auto position = static_cast<int64_t>(timeline->time.size());
    timeline->time.push_back(time);
    timeline->item.push_back(static_cast<int32_t>(position));
    if (time <= kStart) {
      evaluation.length += 1;
    } else {
      evaluation.positives.push_back(static_cast<int32_t>(position));
      evaluation.events.push_back(position);
    }
  }
  evaluation.timeline = timeline;
  return evaluation;
}

TEST(InferenceFrequencyTest, OnceServesTheWholeWindow) {
  const auto queries = queries_of_case(case_of({kStart - 5, kStart, kStart + 1, kStart + 9 * kDay}),
                                       InferenceFrequency::kOnce);
  ASSERT_THAT(queries, SizeIs(1));
  EXPECT_EQ(queries[0].length, 2);
  EXPECT_EQ(queries[0].time, kStart);
  EXPECT_THAT(queries[0].targets, ElementsAre(2, 3));
}

TEST(InferenceFrequencyTest, DailyChangesAfterEachDay) {
  const auto queries = queries_of_case(
      case_of({kStart, kStart + 1, kStart + kDay, kStart + kDay + 1, kStart + 5 * kDay}),
      InferenceFrequency::kDaily);
  ASSERT_THAT(queries, SizeIs(3));
  EXPECT_EQ(queries[0].length, 1);
  EXPECT_THAT(queries[0].targets, ElementsAre(1, 2));  // exactly one day later: still the first day
  EXPECT_EQ(queries[1].time, kStart + kDay);
  EXPECT_EQ(queries[1].length, 3);
  EXPECT_THAT(queries[1].targets, ElementsAre(3));
  EXPECT_EQ(queries[2].time, kStart + 4 * kDay);
  EXPECT_EQ(queries[2].length, 4);
  EXPECT_THAT(queries[2].targets, ElementsAre(4));
}

TEST(InferenceFrequencyTest, ADelayServesADayByTheVectorOfTheDayBefore) {
  const EvaluationCase evaluation = case_of(
      {kStart - 2 * kDay, kStart - 5, kStart, kStart + 1, kStart + kDay + 1, kStart + 5 * kDay});
  const auto queries =
      queries_of_case(evaluation, InferenceFrequency::kDaily, /*daily_delay_days=*/1);
  ASSERT_THAT(queries, SizeIs(3));
  EXPECT_EQ(queries[0].time, kStart - kDay);
  EXPECT_EQ(queries[0].length, 1) << "neither event of the last day before t";
  EXPECT_THAT(queries[0].targets, ElementsAre(3));
  EXPECT_EQ(queries[1].time, kStart);
  EXPECT_EQ(queries[1].length, 3);
  EXPECT_THAT(queries[1].targets, ElementsAre(4));
  EXPECT_EQ(queries[2].time, kStart + 3 * kDay);
  EXPECT_EQ(queries[2].length, 5);
  const auto earliest = queries_of_case(evaluation, InferenceFrequency::kDaily, 9);
  EXPECT_EQ(earliest[0].time, kStart - 2 * kDay) << "the vector of the first event";
  EXPECT_EQ(earliest[0].length, 1);
}

TEST(InferenceFrequencyTest, RealtimeSeesEverythingOfEarlierSeconds) {
  const auto queries = queries_of_case(case_of({kStart - 9, kStart + 3, kStart + 3, kStart + 8}),
                                       InferenceFrequency::kRealtime);
  ASSERT_THAT(queries, SizeIs(2));
  EXPECT_EQ(queries[0].length, 1);  // neither of the two sees the other
  EXPECT_EQ(queries[0].time, kStart + 2);
  EXPECT_THAT(queries[0].targets, ElementsAre(1, 2));
  EXPECT_EQ(queries[1].length, 3);
  EXPECT_EQ(queries[1].time, kStart + 7) << "popularity is known up to then";
  EXPECT_THAT(queries[1].targets, ElementsAre(3));
}

// A basket whose lines stand in an order that a model could exploit.
TEST(InferenceFrequencyTest, NoFrequencySeesAnEventOfThePositivesOwnSecond) {
  const std::vector<int64_t> times = {kStart - 9, kStart + 3,    kStart + 3,
                                      kStart + 3, kStart + kDay, kStart + kDay};
  for (const auto frequency :
       {InferenceFrequency::kOnce, InferenceFrequency::kDaily, InferenceFrequency::kRealtime})
    for (const CaseQuery& query : queries_of_case(case_of(times), frequency))
      for (const int32_t item : query.targets)
        EXPECT_LT(times[static_cast<size_t>(query.length - 1)], times[static_cast<size_t>(item)]);
}

TEST(InferenceFrequencyTest, EveryPositiveIsServedOnceAndNeverSeen) {
  std::vector<int64_t> times = {kStart - 100, kStart - 50};
  for (int64_t i = 1; i < 60; ++i) times.push_back(kStart + i * i * 300);
  const EvaluationCase evaluation = case_of(times);
  for (const char* name : {"once", "daily", "realtime"}) {
    std::multiset<int32_t> served;
    for (const CaseQuery& query :
         queries_of_case(evaluation, enum_value<InferenceFrequency>(name))) {
      EXPECT_GE(query.time, kStart) << name;
      EXPECT_LE(times[static_cast<size_t>(query.length - 1)], query.time) << name;
      for (const int32_t item : query.targets) {
        served.insert(item);
        EXPECT_GE(item, query.length) << name;  // item = position: not in the prefix
        EXPECT_GT(times[static_cast<size_t>(item)], query.time) << name;
      }
    }
    EXPECT_EQ(served,
              std::multiset<int32_t>(evaluation.positives.begin(), evaluation.positives.end()))
        << name;
  }
}

TEST(InferenceFrequencyTest, UnknownNameIsRefused) {
  EXPECT_THROW(static_cast<void>(enum_value<InferenceFrequency>("hourly")), std::invalid_argument);
}

}  // namespace
}  // namespace pinnerformer
