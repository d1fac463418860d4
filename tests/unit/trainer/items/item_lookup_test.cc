// Which rows a step reads: every item finds its row, once, and the draws belong to (seed, step,
// item).
#include "trainer/items/item_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_batches.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

class ItemLookupTest : public testing::Test {
 protected:
  ItemLookupTest() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 9))) {}

  // Rows as the lookup hands them out: of the inputs, the positives and the pool.
  struct Read {
    torch::Tensor rows, inputs, positives, pool;
  };
  [[nodiscard]] Read read(const ItemTableOptions& options, int64_t step) const {
    const ItemRows rows(options, dataset_);
    const ItemLookup lookup =
        plan_lookup({batch_, positives_, pool_}, rows, options.unknown_rate, /*seed=*/3, step);
    const auto at = [&](const torch::Tensor& places) {
      return lookup.rows.index_select(0, places.flatten()).view_as(places);
    };
    return {lookup.rows, at(lookup.inputs), at(lookup.positives), at(lookup.pool)};
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
  Batch batch_ = random_batch({3, 12, 7}, 1);
  std::vector<int64_t> positives_ = {5, 17, 5, 39};
  torch::Tensor pool_ = torch::tensor({int64_t{17}, int64_t{0}, int64_t{8}});
};

TEST_F(ItemLookupTest, EveryItemFindsItsRowAndEveryRowIsAskedForOnce) {
  ItemTableOptions options;
  options.unknown_rate = 0;
  const Read found = read(options, 0);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t length = batch_.length[b].item<int64_t>();
    EXPECT_TRUE(
        torch::equal(found.inputs[b].narrow(0, 0, length), batch_.item[b].narrow(0, 0, length)));
  }
  EXPECT_TRUE(torch::equal(found.positives, torch::tensor(positives_)));
  EXPECT_TRUE(torch::equal(found.pool, pool_));
  std::set<int64_t> expected(positives_.begin(), positives_.end());
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t s = 0; s < batch_.length[b].item<int64_t>(); ++s)
      expected.insert(batch_.item[b][s].item<int64_t>());
  expected.insert({17, 0, 8});
  const std::set<int64_t> rows(found.rows.data_ptr<int64_t>(),
                               found.rows.data_ptr<int64_t>() + found.rows.numel());
  EXPECT_EQ(rows, expected) << "padding asks for nothing";
  EXPECT_EQ(found.rows.numel(), std::ssize(rows));
}

TEST_F(ItemLookupTest, GroupedByKeeperEveryoneFindsTheSameRow) {
  const ItemTableOptions options;
  const ItemLookup plain = plan_lookup({batch_, positives_, pool_}, ItemRows(options, dataset_),
                                       options.unknown_rate, /*seed=*/3, /*step=*/1);
  const ItemLookup grouped = by_owner(plain, 3);
  const torch::Tensor owner = grouped.rows.remainder(3);
  EXPECT_FALSE(torch::equal(owner, plain.rows.remainder(3)));
  EXPECT_TRUE(torch::equal(owner, std::get<0>(owner.sort())));
  const auto read = [](const ItemLookup& lookup, const torch::Tensor& places) {
    return lookup.rows.index_select(0, places.flatten()).view_as(places);
  };
  EXPECT_TRUE(torch::equal(read(grouped, grouped.inputs), read(plain, plain.inputs)));
  EXPECT_TRUE(torch::equal(read(grouped, grouped.positives), read(plain, plain.positives)));
  EXPECT_TRUE(torch::equal(read(grouped, grouped.pool), read(plain, plain.pool)));
  EXPECT_TRUE(torch::equal(by_owner(plain, 1).rows, plain.rows));
}

TEST_F(ItemLookupTest, UnknownIsDrawnForTheItemInTheStep) {
  ItemTableOptions options;
  options.unknown_rate = 0.3;
  const int64_t unknown = ItemRows(options, dataset_).unknown();
  EXPECT_EQ(unknown, kTinyItems);
  int64_t dropped = 0;
  for (int64_t step = 0; step < 200; ++step) {
    const Read found = read(options, step);
    const bool seventeen = found.positives[1].item<int64_t>() == unknown;
    EXPECT_EQ(seventeen, found.pool[0].item<int64_t>() == unknown) << "one item, one draw";
    dropped += seventeen;
    EXPECT_TRUE(torch::equal(read(options, step).rows, found.rows)) << "no generator behind it";
  }
  EXPECT_NEAR(static_cast<double>(dropped) / 200, 0.3, 0.1);
}

TEST_F(ItemLookupTest, BucketsAreSharedByHashOfTheIdAndCollisionsCounted) {
  ItemTableOptions options;
  options.unknown_rate = 0;
  options.hash_buckets = 16;
  const ItemRows rows(options, dataset_);
  EXPECT_EQ(rows.count(), 17);
  EXPECT_EQ(rows.unknown(), 16);
  std::set<int64_t> taken;
  for (int64_t item = 0; item < kTinyItems; ++item) {
    EXPECT_EQ(rows.row(item), static_cast<int64_t>(dataset_.item_hash(item) % 16));
    taken.insert(rows.row(item));
  }
  EXPECT_EQ(rows.collisions(), kTinyItems - std::ssize(taken));
  EXPECT_GE(rows.collisions(), kTinyItems - 16);
  const Read found = read(options, 0);
  EXPECT_EQ(found.pool[0].item<int64_t>(), rows.row(17));
  EXPECT_LE(found.rows.numel(), 16) << "a shared row is asked for once";
  EXPECT_EQ(ItemRows(ItemTableOptions(), dataset_).collisions(), 0);
}

TEST_F(ItemLookupTest, ItemOutsideOfTheDatasetIsBadData) {
  for (const int64_t buckets : {0, 16}) {
    ItemTableOptions options;
    options.hash_buckets = buckets;
    const ItemRows rows(options, dataset_);
    for (const int64_t item : {int64_t{-1}, kTinyItems}) {
      EXPECT_THROW(static_cast<void>(rows.row(item)), DataError);
    }
  }
}

}  // namespace
}  // namespace pinnerformer
