// The weight of popularity is the best one window earlier, for training users.
#include "trainer/evaluation/popularity_recency.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
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

struct VideoFixture {
  TemporaryDirectory directory;
  Dataset dataset;
  PositiveOptions positives{.actions = {"click"}, .surfaces = {}};
  SplitOptions split{.users_percent = 10, .window_days = 1, .windows = 1, .min_events = 1};
  EvaluateOptions evaluate;
  std::unique_ptr<Communicator> comm = make_single_communicator();

  explicit VideoFixture(const std::vector<EventRow>& rows) : dataset(open(directory, rows)) {}
  static Dataset open(const TemporaryDirectory& directory, const std::vector<EventRow>& rows) {
    FixtureItems items;
    items.count = kVideos;
    items.vectors = torch::cat({torch::eye(20), torch::eye(20)});  // item i is like item i + 20
    return Dataset::open(write_dataset(directory.path(), rows, items));
  }
  [[nodiscard]] PopularityRecencyBaseline baseline() const {
    return PopularityRecencyBaseline({.dataset = dataset,
                                      .positives = positives,
                                      .split = split,
                                      .evaluate = evaluate,
                                      .seed = 1,
                                      .comm = *comm});
  }
};

// "weight" and "chosen_on".
std::map<std::string, double> settings_of(const std::vector<EventRow>& rows) {
  const VideoFixture fixture(rows);
  PopularityRecencyBaseline baseline = fixture.baseline();
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

// A score is the cosine to the mean of the last events and the count before the query's own window.
TEST(PopularityRecencyTest, AQueryHasTheLastEventsAndItsOwnWindow) {
  std::vector<EventRow> rows = weeks(/*popular_is_taken=*/true);
  rows.push_back({.user = 200, .item = 3, .action = "click", .time = 13 * kDay / 2});
  rows.push_back({.user = 200, .item = 0, .action = "click", .time = 8 * kDay});
  VideoFixture fixture(rows);
  fixture.split.windows = 2;  // of days 6 to 8
  fixture.evaluate.mean_last = 2;
  PopularityRecencyBaseline baseline = fixture.baseline();
  const torch::Tensor items = baseline.item_vectors();
  torch::Tensor counts = torch::zeros({kVideos, 2});
  counts[19][0] = std::log1p(60.F);
  for (const int64_t item : {0, 3}) counts[item][1] = std::log1p(1.F);  // on day 7 and before
  EXPECT_TRUE(torch::allclose(items.slice(1, 20), counts));

  Timeline history;
  history.item = {7, 5, 6};
  const std::vector<HistoryPrefix> prefixes = {
      {.timeline = &history, .length = 3, .time = 7 * kDay, .window = 1},
      {.timeline = &history, .length = 3, .time = 6 * kDay, .window = 0}};
  const torch::Tensor queries = baseline.encode(prefixes).vectors;
  const auto weight = static_cast<float>(baseline.settings().front().second);
  EXPECT_GT(weight, 0);
  torch::Tensor expected = torch::zeros({2, 22});
  for (int64_t i = 0; i < 2; ++i)
    for (const int64_t item : {5, 6}) expected[i][item] = std::sqrt(.5F);
  expected[0][21] = weight;
  expected[1][20] = weight;
  EXPECT_TRUE(torch::allclose(queries, expected)) << queries;
}

// The last two events of a user are for validation and the test: nothing counts them.
TEST(PopularityRecencyTest, CountsOfLeaveOneOutKnowNoLeftOutEvent) {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 30; ++user) {
    const std::vector<int64_t> items = {user % 10, 10 + user % 10, 20, 30};
    for (size_t i = 0; i < items.size(); ++i)
      rows.push_back({.user = user,
                      .item = items[i],
                      .action = "click",
                      .time = static_cast<int64_t>(i + 1) * kDay});
  }
  VideoFixture fixture(rows);
  fixture.split = {.users_percent = 100, .min_events = 1, .protocol = SplitProtocol::kLeaveOneOut};
  PopularityRecencyBaseline baseline = fixture.baseline();
  const torch::Tensor counts = baseline.item_vectors().slice(1, 20);
  torch::Tensor expected = torch::zeros({kVideos, 1});
  expected.narrow(0, 0, 20).fill_(std::log1p(3.F));
  EXPECT_TRUE(torch::allclose(counts, expected)) << counts;
}

}  // namespace
}  // namespace pinnerformer
