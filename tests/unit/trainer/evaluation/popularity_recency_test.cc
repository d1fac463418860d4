// The weight of popularity is the best one window earlier, for training users.
#include "trainer/evaluation/popularity_recency.h"

#include <gtest/gtest.h>

#include "comm/thread_communicator.h"
#include "dataloader/base/errors.h"
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

double chosen_weight(bool popular_is_taken) {
  const TemporaryDirectory directory;
  FixtureItems items;
  items.count = kVideos;
  items.vectors = torch::cat({torch::eye(20), torch::eye(20)});  // item i is like item i + 20
  const Dataset dataset =
      Dataset::open(write_dataset(directory.path(), weeks(popular_is_taken), items));
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
  return baseline.settings().front().second;
}

TEST(PopularityRecencyTest, ItsWeightIsTheBestOneWindowEarlier) {
  EXPECT_EQ(chosen_weight(/*popular_is_taken=*/false), 0);
  EXPECT_GT(chosen_weight(/*popular_is_taken=*/true), 0);
}

}  // namespace
}  // namespace pinnerformer
