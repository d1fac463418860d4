#include "dataloader/sampling/epoch_plan.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

std::vector<int64_t> shuffled_numbers(int64_t count, KeyedRandom random) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  shuffle(std::span(numbers), random);
  return numbers;
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t lane_count(const EpochShape& shape) { return divide_up(shape.batch_users, kLaneUsers); }

// Users of a whole buffer: whole batches, with about shuffle_blocks blocks in each lane.
int64_t buffer_users(const EpochShape& shape) {
  const int64_t wanted = shape.shuffle_blocks * shape.block_users * lane_count(shape);
  return divide_up(wanted, shape.batch_users) * shape.batch_users;
}

}  // namespace

BlockOrder::BlockOrder(const EpochShape& shape, int64_t epoch)
    : shape_(shape),
      blocks_(shuffled_numbers(divide_up(shape.users, shape.block_users),
                               KeyedRandom(RandomStream::kOrder, {shape.seed, epoch}))) {
  starts_.push_back(0);
  for (const int64_t block : blocks_)
    starts_.push_back(starts_.back() +
                      std::min(shape.block_users, shape.users - block * shape.block_users));
}

std::vector<Slice> BlockOrder::runs(Slice places) const {
  std::vector<Slice> runs;
  auto at = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), places.first) -
                                starts_.begin()) -
            1;
  for (int64_t place = places.first; place < places.end(); place = starts_[++at]) {
    const int64_t count = std::min(starts_[at + 1], places.end()) - place;
    runs.push_back({blocks_[at] * shape_.block_users + place - starts_[at], count});
  }
  return runs;
}

int64_t buffer_count(const EpochShape& shape) {
  return divide_up(shape.users, buffer_users(shape));
}

int64_t buffer_of(const EpochShape& shape, int64_t place) { return place / buffer_users(shape); }

BufferPlan::BufferPlan(const EpochShape& shape, int64_t epoch, int64_t number)
    : lanes_(lane_count(shape)) {
  places_.first = number * buffer_users(shape);
  places_.count = std::min(buffer_users(shape), shape.users - places_.first);
  order_ = shuffled_numbers(divide_up(places_.count, shape.batch_users),
                            KeyedRandom(RandomStream::kOrder, {shape.seed, epoch, number}));
}

int64_t BufferPlan::batch_users(int64_t batch) const {
  return equal_slice(places_.count, batch, std::ssize(order_)).count;
}

Slice BufferPlan::lane_slots(int64_t lane, int64_t batch) const {
  return equal_slice(batch_users(batch), lane, lanes_);
}

Slice BufferPlan::lane_places(int64_t lane) const {
  Slice places{places_.first, 0};
  for (int64_t batch = 0; batch < std::ssize(order_); ++batch) {
    places.first += lane_slots(lane, batch).first;
    places.count += lane_slots(lane, batch).count;
  }
  return places;
}

// With as many samples as users each batch fills its slots; with fewer, the free slots are spread
// over all batches.
Slice BufferPlan::lane_samples(int64_t lane, int64_t batch, int64_t samples) const {
  const int64_t users = lane_places(lane).count;
  if (users == 0) return {};
  int64_t earlier = 0;  // slots of shorter batches
  for (int64_t b = 0; b < batch; ++b) earlier += lane_slots(lane, b).count;
  const int64_t first = samples * earlier / users;
  return {first, samples * (earlier + lane_slots(lane, batch).count) / users - first};
}

Slice BufferPlan::rank_lanes(int rank, int world) const {
  int64_t first = lanes_, end = 0;
  for (int64_t batch = 0; batch < std::ssize(order_); ++batch) {
    const Slice mine = rank_slice(batch_users(batch), rank, world);
    for (int64_t lane = 0; lane < lanes_; ++lane) {
      const Slice slots = lane_slots(lane, batch);
      if (std::max(slots.first, mine.first) >= std::min(slots.end(), mine.end())) continue;
      first = std::min(first, lane);
      end = std::max(end, lane + 1);
    }
  }
  return {std::min(first, end), std::max<int64_t>(end - first, 0)};
}

}  // namespace pinnerformer
