// Which users make up a step, and which of them are this rank's. Pure: integers in, integers out.
//
// Note [Order of an epoch]. The order of the users trades off three goals: large reads, random
// batches, and rows of equal length in a batch.
// - Blocks of `block_users` users that are neighbours on disk are shuffled and laid end to end. A
//   *place* is an index into this order.
// - A *buffer* is a contiguous range of places: the users of some tens of batches.
// - A buffer is divided into *lanes*, contiguous ranges of places too, one for every kLaneUsers
//   users of a batch. Each lane is sorted by the length of its samples (equal lengths: at random).
//   The users around the same quantile of every lane make up a batch. Batches are taken in random
//   order.
// The rows of a batch then have nearly equal lengths, and a rank, whose rows are a contiguous
// slice of every batch, reads one contiguous range of every buffer. Which users are in a batch is
// a function of (seed, epoch): the lanes do not depend on the number of ranks. A rank needs the
// lengths of its own lanes only.
#pragma once
#include <cstdint>
#include <vector>

#include "dataloader/base/slice.h"

namespace pinnerformer {

constexpr int64_t kLaneUsers = 16;

struct EpochShape {
  int64_t users = 0;           // in an epoch
  int64_t batch_users = 1;     // of a global batch
  int64_t block_users = 256;   // neighbours that stay together
  int64_t shuffle_blocks = 8;  // of a lane in one buffer, about
  int64_t seed = 0;
};

// The order of the users of an epoch: shuffled blocks of neighbours.
class BlockOrder {
 public:
  BlockOrder(const EpochShape& shape, int64_t epoch);
  // The users at `places`, as ranges of the ascending users.
  [[nodiscard]] std::vector<Slice> runs(Slice places) const;

 private:
  EpochShape shape_;
  std::vector<int64_t> blocks_;  // in their order
  std::vector<int64_t> starts_;  // place of the first user of each block, and the end
};

// One buffer: which places it covers and how many users each of its batches has. Batches are
// numbered by length, the shortest first; `order` is the order in which they are delivered.
class BufferPlan {
 public:
  // Buffer `number` of the epoch. Sizes of batches differ by at most one; all but those of the last
  // buffer have batch_users users.
  BufferPlan(const EpochShape& shape, int64_t epoch, int64_t number);

  [[nodiscard]] Slice places() const { return places_; }
  [[nodiscard]] const std::vector<int64_t>& order() const { return order_; }
  [[nodiscard]] int64_t lanes() const { return lanes_; }
  [[nodiscard]] int64_t batch_users(int64_t batch) const;
  [[nodiscard]] Slice lane_places(int64_t lane) const;
  // The slots (rows) of a global batch that a lane fills.
  [[nodiscard]] Slice lane_slots(int64_t lane, int64_t batch) const;
  // Which of the `samples` of a lane, sorted by length, go into a batch: at most its slots.
  [[nodiscard]] Slice lane_samples(int64_t lane, int64_t batch, int64_t samples) const;
  // Lanes with slots of this rank in any batch.
  [[nodiscard]] Slice rank_lanes(int rank, int world) const;

 private:
  Slice places_;
  int64_t lanes_ = 1;
  std::vector<int64_t> order_;
};

[[nodiscard]] int64_t buffer_count(const EpochShape& shape);
// The buffer that covers a place.
[[nodiscard]] int64_t buffer_of(const EpochShape& shape, int64_t place);

}  // namespace pinnerformer
