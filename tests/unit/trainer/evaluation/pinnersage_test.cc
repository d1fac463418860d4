// PinnerSage on users whose clusters are plain to see.
#include "trainer/evaluation/pinnersage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;

// Items 0-2 lie around the first axis with item 1 in the middle, 3 and 4 around the second, 5 is
// alone on the third; item 6 has no vector.
torch::Tensor item_vectors() {
  return torch::tensor({{1.0F, 0.2F, 0.0F},
                        {1.0F, 0.1F, 0.0F},
                        {1.0F, 0.0F, 0.0F},
                        {0.0F, 1.0F, 0.1F},
                        {0.0F, 1.0F, 0.0F},
                        {0.0F, 0.0F, 2.0F},
                        {0.0F, 0.0F, 0.0F}});
}

struct PinnersageFixture {
  TemporaryDirectory directory;
  Dataset dataset;
  explicit PinnersageFixture(const FixtureItems& items)
      : dataset(Dataset::open(write_dataset(directory.path(), {{.user = 1, .item = 0}}, items))) {}
};

FixtureItems with_vectors() {
  FixtureItems items;
  items.count = 7;
  items.vectors = item_vectors();
  return items;
}

// A prefix of (day, item) at day 100.
struct History {
  Timeline timeline;
  explicit History(const std::vector<std::pair<int64_t, int32_t>>& events) {
    for (const auto& [day, item] : events) {
      timeline.time.push_back(day * kDay);
      timeline.item.push_back(item);
    }
  }
  [[nodiscard]] HistoryPrefix prefix() const {
    return {.timeline = &timeline, .length = timeline.size(), .time = 100 * kDay, .window = 0};
  }
};

// Which item each vector is.
std::vector<int64_t> items_of(const torch::Tensor& vectors, PinnerSageBaseline& baseline) {
  std::vector<int64_t> items;
  for (int64_t i = 0; i < vectors.size(0); ++i) {
    const torch::Tensor distance = (baseline.item_vectors() - vectors[i]).norm(2, 1);
    items.push_back(distance.argmin().item<int64_t>());
    EXPECT_EQ(distance.min().item<float>(), 0) << "a medoid is one of the items";
  }
  return items;
}

TEST(PinnersageTest, MedoidsOfTheMostImportantClustersFirst) {
  const PinnersageFixture fixture(with_vectors());
  PinnerSageBaseline baseline(fixture.dataset, {.clusters = 5});
  EXPECT_EQ(baseline.name(), "pinnersage_5");
  const History history({{95, 3}, {96, 0}, {97, 1}, {98, 2}, {99, 5}, {99, 6}, {100, 3}});
  const QueryVectors found = baseline.encode({history.prefix()});
  EXPECT_THAT(found.counts, ElementsAre(3));
  EXPECT_THAT(items_of(found.vectors, baseline), ElementsAre(1, 3, 5));
  PinnerSageBaseline two(fixture.dataset, {.clusters = 2});
  EXPECT_THAT(items_of(two.encode({history.prefix()}).vectors, two), ElementsAre(1, 3));
}

TEST(PinnersageTest, ImportanceDecaysAndOldItemsAreDropped) {
  const PinnersageFixture fixture(with_vectors());
  PinnerSageBaseline baseline(fixture.dataset, {.clusters = 5});
  // Two old events on item 4 weigh 2 exp(-.8) = .9, one of today weighs 1; day 9 is too long ago.
  const History history({{9, 2}, {20, 4}, {20, 4}, {100, 5}});
  EXPECT_THAT(items_of(baseline.encode({history.prefix()}).vectors, baseline), ElementsAre(5, 4));
  PinnerSageBaseline slow(fixture.dataset, {.clusters = 5, .decay_per_day = 0});
  EXPECT_THAT(items_of(slow.encode({history.prefix()}).vectors, slow), ElementsAre(4, 5));
  PinnerSageBaseline latest(fixture.dataset, {.clusters = 5, .max_items = 1});
  EXPECT_THAT(items_of(latest.encode({history.prefix()}).vectors, latest), ElementsAre(5));
}

TEST(PinnersageTest, UsersWithoutVectorsGetOneOfZeros) {
  const PinnersageFixture fixture(with_vectors());
  PinnerSageBaseline baseline(fixture.dataset, {.clusters = 5});
  const History nothing({{99, 6}});
  const History something({{99, 4}, {99, 5}});
  const QueryVectors found = baseline.encode({nothing.prefix(), something.prefix()});
  EXPECT_THAT(found.counts, ElementsAre(1, 2));
  EXPECT_EQ(found.vectors[0].abs().sum().item<float>(), 0);
}

TEST(PinnersageTest, DatasetsWithoutVectorsAreRefused) {
  const PinnersageFixture fixture{FixtureItems()};
  EXPECT_THROW(PinnerSageBaseline(fixture.dataset, {.clusters = 5}), DataError);
}

}  // namespace
}  // namespace pinnerformer
