// Which users make up a step, and which of them are this rank's. Pure: integers in, integers out.
//
// Note [Order of an epoch]. Users are neighbours on disk, and three wishes pull at their order:
// large reads, random batches, and rows of equal length in a batch. So an epoch is cut up like
// this:
// - Blocks of `block_users` neighbours are shuffled and laid end to end: the *places* of the epoch.
// - A *buffer* is a run of places: the users of some tens of batches.
// - A buffer is cut into *lanes*, runs of places too, one for every kLaneUsers users of a batch.
//   Each lane is sorted by the length of its samples (equal lengths: at random), and the users
//   around the same quantile of every lane make up a batch. Batches are taken in random order.
// So the rows of a batch are of nearly equal length, and a rank, whose rows are a contiguous part
// of every batch, reads one contiguous part of every buffer. Who is in a batch is a function of
// (seed, epoch): lanes do not know how many ranks there are. A rank learns the lengths of its own
// lanes only, and needs no others.
#pragma once
#include <cstdint>
#include <vector>

namespace pinnerformer {

// [first, first + count) of a global batch, or of whatever is named.
struct Slice {
  int64_t first = 0;
  int64_t count = 0;
  [[nodiscard]] int64_t end() const { return first + count; }
  bool operator==(const Slice&) const = default;
};

// Contiguous, disjoint, together complete; sizes differ by at most one.
[[nodiscard]] Slice rank_slice(int64_t total, int rank, int world);
// The sizes of all slices, in rank order.
[[nodiscard]] std::vector<int64_t> slice_counts(int64_t total, int world);

constexpr int64_t kLaneUsers = 16;

struct EpochShape {
  int64_t users = 0;           // in an epoch
  int64_t batch_users = 1;     // of a global batch
  int64_t block_users = 256;   // neighbours that stay together
  int64_t shuffle_blocks = 8;  // of a lane in one buffer, about
  int64_t seed = 0;
};

// The users of an epoch as places: shuffled blocks of neighbours.
class BlockOrder {
 public:
  BlockOrder(const EpochShape& shape, int64_t epoch);
  // The places as runs of neighbours: [first, first + count) of the ascending users.
  [[nodiscard]] std::vector<Slice> runs(Slice places) const;

 private:
  EpochShape shape_;
  std::vector<int64_t> blocks_;  // by place
  std::vector<int64_t> starts_;  // place of each one's first user, and the end
};

// One buffer: which places it covers and how many users each of its batches has. Batches are
// numbered by length, the shortest first; `order` says when each one's turn is.
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
  // The part of a global batch that a lane fills.
  [[nodiscard]] Slice lane_slots(int64_t lane, int64_t batch) const;
  // The part of a lane's `samples`, sorted by length, that go into a batch: no more than its slots.
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
