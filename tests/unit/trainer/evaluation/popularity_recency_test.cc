// The weight of popularity is the best one window earlier, for training users.
#include "trainer/evaluation/popularity_recency.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "comm/thread_communicator.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

constexpr int64_t kVideos = 40;

// t is day 6. Sixty users take an item each on day 1. Others take items 8 to 19 on day 4. In the
// window before t the sixty take what is like their own item, or one of the popular ones.
std::vector<EventRow> weeks(bool popular_is_taken) {
  std::vector<EventRow> rows;
  const auto add = [&](int64_t user, int64_t item, double day) {
    rows.push_back({.user = user,
                    .item = item,
                    .action = "click",
                    .time = static_cast<int64_t>(day * static_cast<double>(kDay))});
  };
  for (int64_t user = 0; user < 60; ++user) {
    add(user, 20 + user % 20, 1);
    // The like of item i is item i - 20, see the vectors below.
    add(user, popular_is_taken ? 19 : user % 20, 5.5);
  }
  for (int64_t user = 100; user < 160; ++user)
    for (int64_t item = 8; item < 20; ++item) add(user, item, 4.5);
  add(200, 0, 0);
  add(200, 0, 7);
  return rows;
}

// "weight" and "chosen_on".
std::map<std::string, double> settings_of(const std::vector<EventRow>& rows) {
  const TemporaryDirectory directory;
  FixtureItems items;
  items.count = kVideos;
  items.vectors = torch::cat({torch::eye(20), torch::eye(20)});  // item i is like item i + 20
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), rows, items));
  const PositiveOptions positives{.actions = {"click"}, .surfaces = {}};
  const SplitOptions split{.users_percent = 10, .window_days = 1, .windows = 1, .min_events = 1};
  const EvaluateOptions evaluate;
  const auto comm = make_single_communicator();
  PopularityRecencyBaseline baseline({.dataset = dataset,
                                      .positives = positives,
                                      .split = split,
                                      .evaluate = evaluate,
                                      .seed = 1,
                                      .comm = *comm});
  EXPECT_EQ(baseline.item_vectors().sizes(), (std::vector<int64_t>{kVideos, 21}));
  const Settings settings = baseline.settings();
  return {settings.begin(), settings.end()};
}

TEST(PopularityRecencyTest, ItsWeightIsTheBestOneWindowEarlier) {
  EXPECT_EQ(settings_of(weeks(/*popular_is_taken=*/false)).at("weight"), 0);
  EXPECT_GT(settings_of(weeks(/*popular_is_taken=*/true)).at("weight"), 0);
}

TEST(PopularityRecencyTest, WithoutAPositiveToChooseOnItsWeightIsZero) {
  std::vector<EventRow> rows = weeks(/*popular_is_taken=*/true);
  EXPECT_GT(settings_of(rows).at("chosen_on"), 0);
  std::erase_if(rows,
                [](const EventRow& row) { return row.time > 5 * kDay && row.time < 6 * kDay; });
  const auto settings = settings_of(rows);
  EXPECT_EQ(settings.at("weight"), 0);
  EXPECT_EQ(settings.at("chosen_on"), 0);
}

}  // namespace
}  // namespace pinnerformer
