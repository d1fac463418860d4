// Slices of a global batch, the order of an epoch, its buffers and lanes.
#include "dataloader/sampling/epoch_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace pinnerformer {
namespace {

TEST(EpochPlan, SlicesAreDisjointCompleteAndEven) {
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

EpochShape shape_of(int64_t users, int64_t batch, int64_t block = 16, int64_t blocks = 4) {
  return {users, batch, block, blocks, /*seed=*/11};
}

std::vector<int64_t> order_of(const EpochShape& shape, int64_t epoch) {
  std::vector<int64_t> order;
  for (const Slice& run : BlockOrder(shape, epoch).runs({0, shape.users}))
    for (int64_t user = run.first; user < run.end(); ++user) order.push_back(user);
  return order;
}

TEST(EpochPlan, BlockOrderIsAPermutationHoweverItIsCut) {
  for (const int64_t users : {1, 2, 7, 64, 65, 1000}) {
    for (const int64_t block : {1, 3, 64, 5000}) {
      const EpochShape shape = shape_of(users, 10, block);
      const std::vector<int64_t> order = order_of(shape, 2);
      std::vector<int64_t> sorted = order, pieces;
      std::sort(sorted.begin(), sorted.end());
      for (int64_t i = 0; i < users; ++i) ASSERT_EQ(sorted[static_cast<size_t>(i)], i);
      const BlockOrder blocks(shape, 2);
      for (int64_t first = 0; first < users; first += 13)
        for (const Slice& run : blocks.runs({first, std::min<int64_t>(13, users - first)}))
          for (int64_t user = run.first; user < run.end(); ++user) pieces.push_back(user);
      EXPECT_EQ(pieces, order) << users << " users in blocks of " << block;
    }
  }
}

TEST(EpochPlan, BlockOrderIsAFunctionOfSeedAndEpoch) {
  EpochShape shape = shape_of(500, 10);
  std::set<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 20; ++epoch) orders.insert(order_of(shape, epoch));
  EXPECT_TRUE(orders.contains(order_of(shape, 0)));
  for (shape.seed = 12; shape.seed < 30; ++shape.seed) orders.insert(order_of(shape, 0));
  EXPECT_EQ(orders.size(), 38U) << "two epochs or seeds share an order";
}

TEST(EpochPlan, EveryUserCanComeFirst) {
  std::set<int64_t> first;
  for (int64_t epoch = 0; epoch < 400; ++epoch)
    first.insert(order_of(shape_of(12, 4, 1), epoch).front());
  EXPECT_EQ(first.size(), 12U);
}

// Shapes with one lane and several, whole and broken buffers, fewer users than a batch.
std::vector<EpochShape> shapes() {
  return {shape_of(1, 1),      shape_of(3, 10),         shape_of(47, 10, 4, 3),
          shape_of(640, 64),   shape_of(1000, 64),      shape_of(997, 50, 8),
          shape_of(5000, 100), shape_of(313, 17, 2, 1), shape_of(100, 7, 64),
          shape_of(4096, 1024)};
}

TEST(EpochPlan, BuffersCoverTheEpochInBatchesOfEqualSize) {
  for (const EpochShape& shape : shapes()) {
    int64_t next = 0;
    for (int64_t number = 0; number < buffer_count(shape); ++number) {
      const BufferPlan plan(shape, 3, number);
      EXPECT_EQ(plan.places().first, next);
      EXPECT_EQ(buffer_of(shape, next), number);
      next = plan.places().end();
      EXPECT_EQ(buffer_of(shape, next - 1), number);
      const bool whole = number + 1 < buffer_count(shape);
      int64_t users = 0, least = shape.batch_users, most = 0;
      std::set<int64_t> turns(plan.order().begin(), plan.order().end());
      EXPECT_EQ(std::ssize(turns), std::ssize(plan.order()));
      for (const int64_t batch : plan.order()) {
        const int64_t size = plan.batch_users(batch);
        users += size;
        least = std::min(least, size);
        most = std::max(most, size);
      }
      EXPECT_EQ(users, plan.places().count);
      EXPECT_LE(most, shape.batch_users);
      EXPECT_LE(most - least, 1);
      if (whole) {
        EXPECT_EQ(least, shape.batch_users);
      }
    }
    EXPECT_EQ(next, shape.users);
  }
}

TEST(EpochPlan, LanesShareOutPlacesSlotsAndSamples) {
  for (const EpochShape& shape : shapes()) {
    const BufferPlan plan(shape, 0, buffer_count(shape) - 1);
    const int64_t batches = std::ssize(plan.order());
    int64_t next_place = plan.places().first;
    for (int64_t lane = 0; lane < plan.lanes(); ++lane) {
      const Slice places = plan.lane_places(lane);
      EXPECT_EQ(places.first, next_place);
      next_place = places.end();
      for (int64_t samples = 0; samples <= places.count; ++samples) {
        int64_t next_sample = 0;
        for (int64_t batch = 0; batch < batches; ++batch) {
          const Slice part = plan.lane_samples(lane, batch, samples);
          const Slice slots = plan.lane_slots(lane, batch);
          ASSERT_EQ(part.first, next_sample);
          ASSERT_LE(part.count, slots.count);
          if (samples == places.count) {
            ASSERT_EQ(part.count, slots.count);
          }
          next_sample = part.end();
          ASSERT_EQ(slots.first, lane == 0 ? 0 : plan.lane_slots(lane - 1, batch).end());
        }
        ASSERT_EQ(next_sample, samples);
      }
    }
    EXPECT_EQ(next_place, plan.places().end());
  }
}

TEST(EpochPlan, RanksReadTheLanesOfTheirSlotsAndNoOthers) {
  for (const EpochShape& shape : shapes()) {
    const BufferPlan plan(shape, 0, 0);
    for (const int world : {1, 2, 3, 8}) {
      int64_t read = 0;
      for (int rank = 0; rank < world; ++rank) {
        const Slice lanes = plan.rank_lanes(rank, world);
        read += lanes.count;
        for (int64_t batch = 0; batch < std::ssize(plan.order()); ++batch) {
          const Slice mine = rank_slice(plan.batch_users(batch), rank, world);
          if (mine.count == 0) continue;
          EXPECT_LE(plan.lane_slots(lanes.first, batch).first, mine.first);
          EXPECT_GE(plan.lane_slots(lanes.end() - 1, batch).end(), mine.end());
        }
      }
      EXPECT_LE(read, plan.lanes() + 2 * world);
      if (plan.lanes() % world == 0) {
        EXPECT_EQ(read, plan.lanes()) << "no lane is read twice";
      }
    }
  }
}

// In a whole buffer the users of a lane are few blocks.
TEST(EpochPlan, LanesAreFewLargeReads) {
  const EpochShape shape = shape_of(100000, 64, 256, 4);
  const BufferPlan plan(shape, 0, 0);
  const BlockOrder order(shape, 0);
  for (int64_t lane = 0; lane < plan.lanes(); ++lane) {
    EXPECT_EQ(plan.lane_places(lane).count, 1024);
    EXPECT_LE(order.runs(plan.lane_places(lane)).size(), 6U);
  }
}

}  // namespace
}  // namespace pinnerformer
