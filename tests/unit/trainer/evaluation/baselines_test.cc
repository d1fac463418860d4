// Baselines on small datasets where every vector can be worked out by hand.
#include "trainer/evaluation/baselines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <thread>

#include "comm/thread_communicator.h"
#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Two windows of a day at the end of ten days: t is day 8, then day 9.
struct BaselinesFixture {
  TemporaryDirectory directory;
  Dataset dataset;
  PositiveOptions positives{.actions = {"click"}, .surfaces = {}, .first_only = true};
  SplitOptions split{.users_percent = 50, .window_days = 1, .windows = 2, .min_events = 1};
  EvaluateOptions evaluate;
  std::unique_ptr<Communicator> comm = make_single_communicator();

  explicit BaselinesFixture(const std::vector<EventRow>& rows, const FixtureItems& items = {})
      : dataset(Dataset::open(write_dataset(directory.path(), rows, items))) {}
  [[nodiscard]] BaselineInputs inputs() { return inputs(*comm); }
  [[nodiscard]] BaselineInputs inputs(Communicator& ranks) {
    return {.dataset = dataset,
            .positives = positives,
            .split = split,
            .evaluate = evaluate,
            .seed = 3,
            .comm = ranks};
  }
};

EventRow click(int64_t user, int64_t item, double day) {
  return {.user = user,
          .item = item,
          .action = "click",
          .time = static_cast<int64_t>(day * static_cast<double>(kDay))};
}

std::vector<float> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

std::vector<EventRow> popularity_rows() {
  EventRow view = click(1, 2, 7.9);
  view.action = "view";
  return {click(1, 0, 0),    click(1, 0, 7.5),
          click(1, 0, 7.6),                     // repeats count
          click(2, 1, 7),    click(2, 1, 8),    // (7, 8]: open, then closed
          click(3, 1, 8.5),  view,              // only positives
          click(9, 2, 9.99), click(9, 2, 10)};  // inside the last window
}

TEST(BaselinesTest, PopularityCountsThePositivesBeforeEachWindow) {
  BaselinesFixture fixture(popularity_rows());
  const auto baseline = make_baseline(Baseline::kPopularity, fixture.inputs());
  EXPECT_EQ(baseline->name(), "popularity");
  EXPECT_FALSE(baseline->depends_on_time());
  // Columns are the windows at day 8 and day 9.
  EXPECT_THAT(values_of(baseline->item_vectors()), ElementsAre(2, 0, 1, 1, 0, 0));
  fixture.evaluate.popularity_days = 3;
  EXPECT_THAT(values_of(make_baseline(Baseline::kPopularity, fixture.inputs())->item_vectors()),
              ElementsAre(2, 2, 2, 3, 0, 0));
  const HistoryPrefix prefix{.timeline = nullptr, .length = 0, .time = 0, .window = 1};
  EXPECT_THAT(values_of(baseline->encode({prefix}).vectors), ElementsAre(0, 1));
}

TEST(BaselinesTest, PopularityUnderLeaveOneOutSkipsTheTests) {
  BaselinesFixture fixture(popularity_rows());
  fixture.split.protocol = SplitProtocol::kLeaveOneOut;
  const auto baseline = make_baseline(Baseline::kPopularity, fixture.inputs());
  // The last events of users 1, 2, 3 and 9 are a view of item 2 and clicks of 1, 1 and 2.
  EXPECT_THAT(values_of(baseline->item_vectors()), ElementsAre(3, 1, 1));
  EXPECT_EQ(baseline->encode({HistoryPrefix()}).vectors.size(1), 1);
}

TEST(BaselinesTest, PopularityIsTheSumOverRanks) {
  BaselinesFixture fixture(popularity_rows());
  const auto comms = make_thread_communicators(3, 60);
  std::vector<std::vector<float>> counts(3);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      const auto baseline = make_baseline(Baseline::kPopularity, fixture.inputs(*comms[rank]));
      counts[rank] = values_of(baseline->item_vectors());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& count : counts) EXPECT_THAT(count, ElementsAre(2, 0, 1, 1, 0, 0));
}

TEST(BaselinesTest, PersonalPopularityCountsTheUsersOwnPositives) {
  EventRow view = click(1, 1, 2);
  view.action = "view";
  BaselinesFixture fixture({click(1, 0, 0), click(1, 2, 1), view, click(1, 2, 3), click(1, 0, 10)});
  const auto baseline = make_baseline(Baseline::kPersonalPopularity, fixture.inputs());
  EXPECT_TRUE(baseline->depends_on_time());
  EXPECT_FALSE(baseline->item_vectors().defined());
  const Timeline timeline = fixture.dataset.timeline(*fixture.dataset.find_user("1"));
  const auto counts = [&](int64_t length) {
    return values_of(baseline->encode({{.timeline = &timeline, .length = length}}).vectors);
  };
  EXPECT_THAT(counts(4),
              ElementsAre(1, 0, 2));  // repeats count, views do not, nor what comes later
  EXPECT_THAT(counts(1), ElementsAre(1, 0, 0));
}

TEST(BaselinesTest, MeanOfLastTakesTheLastItemsThatHaveAVector) {
  FixtureItems items;
  items.vectors = torch::tensor({{3.0F, 4.0F}, {0.0F, 0.0F}, {0.0F, 2.0F}, {5.0F, 0.0F}});
  BaselinesFixture fixture({click(1, 3, 0), click(1, 0, 1), click(1, 1, 2), click(1, 2, 3),
                            click(1, 3, 10), click(2, 1, 0)},
                           items);
  fixture.evaluate.mean_last = 2;
  const auto baseline = make_baseline(Baseline::kMeanOfLast, fixture.inputs());
  EXPECT_EQ(values_of(baseline->item_vectors()),
            (std::vector<float>{0.6F, 0.8F, 0, 0, 0, 1, 1, 0}));
  const Timeline one = fixture.dataset.timeline(*fixture.dataset.find_user("1"));
  const Timeline two = fixture.dataset.timeline(*fixture.dataset.find_user("2"));
  // The first four events of user 1 end in items 0, 1 (no vector), 2; user 2 has nothing to
  // average.
  const std::vector<float> found = values_of(
      baseline->encode({{.timeline = &one, .length = 4}, {.timeline = &two, .length = 1}}).vectors);
  const float norm = std::sqrt(0.6F * 0.6F + 1.8F * 1.8F);
  EXPECT_FLOAT_EQ(found[0], 0.6F / norm);
  EXPECT_FLOAT_EQ(found[1], 1.8F / norm);
  EXPECT_EQ(found[2], 0);
  EXPECT_EQ(found[3], 0);
}

TEST(BaselinesTest, RandomDependsOnTheUserAndTheSeedOnly) {
  RandomBaseline baseline(50, 1);
  Timeline one;
  one.user = 1;
  Timeline two;
  two.user = 2;
  const torch::Tensor both =
      baseline.encode({{.timeline = &one, .length = 0}, {.timeline = &two, .length = 0}}).vectors;
  const torch::Tensor alone = baseline.encode({{.timeline = &two, .length = 0}}).vectors;
  EXPECT_TRUE(torch::equal(both[1], alone[0]));
  EXPECT_FALSE(torch::equal(both[0], both[1]));
  EXPECT_TRUE(torch::equal(baseline.item_vectors(), RandomBaseline(50, 1).item_vectors()));
  EXPECT_FALSE(torch::equal(baseline.item_vectors(), RandomBaseline(50, 2).item_vectors()));
  const torch::Tensor many = RandomBaseline(20000, 1).item_vectors();
  EXPECT_NEAR(many.mean().item<double>(), 0, 0.001);
  EXPECT_NEAR(many.norm(2, 1).min().item<double>(), 1, 1e-5);
}

TEST(BaselinesTest, MissingVectorsAreRefused) {
  BaselinesFixture fixture({click(1, 0, 0), click(2, 1, 10)});
  EXPECT_THROW(static_cast<void>(make_baseline(Baseline::kMeanOfLast, fixture.inputs())),
               DataError);
}

}  // namespace
}  // namespace pinnerformer
