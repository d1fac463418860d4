// Slices of a global batch and the order of an epoch.
#include "dataloader/shard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace pinnerformer {
namespace {

std::vector<int64_t> numbered_users(int64_t count) {
  std::vector<int64_t> users(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) users[static_cast<size_t>(i)] = 3 * i + 1;
  return users;
}

TEST(ShardPlan, SlicesAreDisjointCompleteAndEven) {
  for (int world = 1; world <= 8; ++world) {
    for (const int64_t total : {0L, 1L, 2L, 3L, 5L, 7L, 8L, 9L, 64L, 1000L, 1L << 40}) {
      int64_t next = 0;
      const std::vector<int64_t> counts = slice_counts(total, world);
      ASSERT_EQ(std::ssize(counts), world);
      for (int rank = 0; rank < world; ++rank) {
        const Slice slice = rank_slice(total, rank, world);
        EXPECT_EQ(slice.first, next) << total << " users, rank " << rank << " of " << world;
        EXPECT_EQ(slice.count, counts[static_cast<size_t>(rank)]);
        EXPECT_GE(slice.count, total / world);
        EXPECT_LE(slice.count, total / world + 1);
        next += slice.count;
      }
      EXPECT_EQ(next, total);
    }
  }
}

TEST(ShardPlan, EpochOrderIsAPermutation) {
  for (const int64_t count : {0, 1, 2, 7, 64, 65, 1000}) {
    const auto users = numbered_users(count);
    for (const int64_t block : {1, 3, 64, 5000}) {
      auto order = epoch_order(users, 11, 2, block, 4);
      std::sort(order.begin(), order.end());
      EXPECT_EQ(order, users) << count << " users in blocks of " << block;
    }
  }
}

TEST(ShardPlan, EpochOrderIsAFunctionOfSeedAndEpoch) {
  const auto users = numbered_users(500);
  const auto order = epoch_order(users, 1, 0, 16, 4);
  EXPECT_EQ(order, epoch_order(users, 1, 0, 16, 4));
  EXPECT_NE(order, users);
  std::set<std::vector<int64_t>> orders{order};
  for (int64_t epoch = 1; epoch < 20; ++epoch) orders.insert(epoch_order(users, 1, epoch, 16, 4));
  for (int64_t seed = 2; seed < 20; ++seed) orders.insert(epoch_order(users, seed, 0, 16, 4));
  EXPECT_EQ(orders.size(), 38U) << "two epochs or seeds share an order";
}

// A buffer holds whole blocks of neighbours, so a file is read in few large pieces.
TEST(ShardPlan, NeighboursShareABuffer) {
  constexpr int64_t kBlock = 8, kBuffer = 5;
  const auto users = numbered_users(800);
  const auto order = epoch_order(users, 7, 3, kBlock, kBuffer);
  std::set<int64_t> seen_blocks;
  for (size_t begin = 0; begin < order.size(); begin += kBlock * kBuffer) {
    std::set<int64_t> blocks;
    for (size_t i = begin; i < begin + kBlock * kBuffer; ++i)
      blocks.insert((order[i] - 1) / 3 / kBlock);
    EXPECT_EQ(std::ssize(blocks), kBuffer);
    seen_blocks.insert(blocks.begin(), blocks.end());
    EXPECT_FALSE(std::is_sorted(order.begin() + static_cast<int64_t>(begin),
                                order.begin() + static_cast<int64_t>(begin) + kBlock * kBuffer));
  }
  EXPECT_EQ(seen_blocks.size(), 100U);
}

TEST(ShardPlan, EveryUserCanComeFirst) {
  const auto users = numbered_users(12);
  std::set<int64_t> first;
  for (int64_t epoch = 0; epoch < 400; ++epoch)
    first.insert(epoch_order(users, 5, epoch, 3, 2).front());
  EXPECT_EQ(first.size(), users.size());
}

}  // namespace
}  // namespace pinnerformer
