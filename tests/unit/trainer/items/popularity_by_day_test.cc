// Counts by day: whole days before a time and nothing later, the same on any number of ranks.
#include "trainer/items/popularity_by_day.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <vector>

#include "dataloader/sampling/positives.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/rank_threads.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

constexpr int64_t kDay = 86400;

class PopularityByDayTest : public testing::Test {
 protected:
  PopularityByDayTest()
      : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 47))),
        rule_({.actions = {"save"}, .surfaces = {}}, dataset_) {}

  [[nodiscard]] PopularityByDay::Mark mark() const {
    return [this](const Timeline& timeline) { return rule_.mark(timeline); };
  }
  // Positives of the item in (from, to], by going through all events.
  [[nodiscard]] int64_t positives_within(int64_t item, int64_t from, int64_t to) const {
    int64_t count = 0;
    for (int64_t user = 0; user < dataset_.users(); ++user) {
      const Timeline timeline = dataset_.timeline(user);
      const std::vector<uint8_t> marks = rule_.mark(timeline);
      for (size_t i = 0; i < marks.size(); ++i)
        count += marks[i] != 0 && timeline.item[i] == item && timeline.time[i] > from &&
                 timeline.time[i] <= to;
    }
    return count;
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
  PositiveRule rule_;
};

TEST_F(PopularityByDayTest, EqualsACountOfAllEvents) {
  const int64_t origin = dataset_.last_time() - 3 * kDay - 1234;
  const std::vector<int64_t> windows = {1, 4, 9}, days = {-5, 0, 2};
  const torch::Tensor items = torch::arange(dataset_.items());
  for (const int world : {1, 3}) {
    run_ranks(world, [&](Communicator& comm) {
      const PopularityByDay popularity(dataset_, mark(), origin, comm);
      const torch::Tensor found = popularity.log_counts(items, days, windows);
      ASSERT_EQ(found.sizes(), (std::vector<int64_t>{3, 3, dataset_.items()}));
      double sum = 0;
      for (int64_t k = 0; k < 3; ++k)
        for (int64_t w = 0; w < 3; ++w)
          for (int64_t item = 0; item < dataset_.items(); ++item) {
            const int64_t to = origin + days[static_cast<size_t>(k)] * kDay;
            const int64_t from = to - windows[static_cast<size_t>(w)] * kDay;
            const auto count = static_cast<double>(positives_within(item, from, to));
            EXPECT_NEAR(found[k][w][item].item<double>(), std::log1p(count), 1e-6);
            sum += count;
          }
      EXPECT_GT(sum, 40) << "there is something to count";
      const std::vector<int64_t> day_of_item(static_cast<size_t>(dataset_.items()), 2);
      EXPECT_TRUE(torch::equal(popularity.log_counts_each(items, day_of_item, windows),
                               found[2].t().contiguous()));
    });
  }
}

// Many more events than items and days: they are added up while they are read.
TEST_F(PopularityByDayTest, CountsOfManyUsersAreAddedUp) {
  const TemporaryDirectory elsewhere;
  const Dataset many = Dataset::open(write_tiny_dataset(elsewhere.path(), 4000));
  const PositiveRule rule({.actions = {"save"}, .surfaces = {}}, many);
  std::vector<int64_t> counts(static_cast<size_t>(many.items()), 0);
  int64_t sum = 0;
  for (const Timeline& timeline : many.timelines(0, many.users())) {
    const std::vector<uint8_t> marks = rule.mark(timeline);
    for (size_t i = 0; i < marks.size(); ++i) {
      counts[static_cast<size_t>(timeline.item[i])] += marks[i];
      sum += marks[i];
    }
  }
  ASSERT_GT(sum, 3 * 4096);
  const std::vector<int64_t> whole = {100000}, end = {1};
  run_ranks(2, [&](Communicator& comm) {
    const PopularityByDay popularity(
        many, [&](const Timeline& timeline) { return rule.mark(timeline); }, many.last_time(),
        comm);
    const torch::Tensor found =
        popularity.log_counts(torch::arange(many.items()), end, whole).flatten();
    for (int64_t item = 0; item < many.items(); ++item)
      EXPECT_EQ(std::lround(std::expm1(found[item].item<double>())),
                counts[static_cast<size_t>(item)]);
  });
}

TEST_F(PopularityByDayTest, ADayThatHasNotEndedIsNotUsed) {
  run_ranks(1, [&](Communicator& comm) {
    const PopularityByDay popularity(dataset_, mark(), 1000 * kDay, comm);
    EXPECT_EQ(popularity.day_before(1000 * kDay), 0);
    EXPECT_EQ(popularity.day_before(1000 * kDay - 1), -1);
    EXPECT_EQ(popularity.day_before(999 * kDay), -1);
    EXPECT_EQ(popularity.day_before(999 * kDay - 1), -2);
    EXPECT_EQ(popularity.day_before(1001 * kDay - 1), 0);
    EXPECT_EQ(popularity.day_before(1001 * kDay), 1);
  });
}

}  // namespace
}  // namespace pinnerformer
