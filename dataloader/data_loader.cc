#include "dataloader/data_loader.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "dataloader/bounded_queue.h"
#include "dataloader/random.h"
#include "dataloader/shard_plan.h"
#include "dataloader/split.h"

namespace pinnerformer {

struct DataLoader::Delivery {
  TrainingBatch batch;
  LoaderPosition after;
};

class DataLoader::Producer {
 public:
  Producer(const Dataset& dataset, std::vector<int64_t> users, PositiveMarker positives,
           LoaderSpec spec, const DataOptions& options, LoaderPosition start)
      : dataset_(dataset),
        users_(std::move(users)),
        positives_(std::move(positives)),
        spec_(spec),
        options_(options),
        queue_(static_cast<size_t>(options.prefetch_batches)),
        thread_([this, start] { run(start); }) {}

  ~Producer() {
    queue_.close();
    thread_.join();
  }

  Delivery pop() { return queue_.pop(); }

 private:
  void run(LoaderPosition position) try {
    while (run_epoch(position)) position = {position.epoch + 1, 0};
  } catch (...) {
    queue_.fail(std::current_exception());
  }

  // False once the consumer has gone.
  bool run_epoch(LoaderPosition position) {
    const std::vector<int64_t> order = epoch_order(
        users_, spec_.seed, position.epoch, options_.block_users, options_.shuffle_blocks);
    const auto total = static_cast<int64_t>(order.size());
    while (position.consumed < total) {
      const int64_t count = std::min(spec_.global_batch_users, total - position.consumed);
      Delivery delivery;
      delivery.batch = build(order, position, count);
      position.consumed += count;
      // At an epoch's end the position already names the next one, so that it is unique.
      delivery.after = position.consumed == total ? LoaderPosition{position.epoch + 1, 0} : position;
      if (!queue_.push(std::move(delivery))) return false;
    }
    return true;
  }

  TrainingBatch build(const std::vector<int64_t>& order, LoaderPosition position, int64_t count) {
    const Slice slice = rank_slice(count, spec_.rank, spec_.world);
    TrainingBatch batch;
    batch.slots = slice.count;
    batch.global_slots = count;
    std::vector<Timeline> timelines;
    std::vector<BatchRow> rows;
    timelines.reserve(static_cast<size_t>(slice.count) + 1);  // rows point into it
    for (int64_t slot = 0; slot < slice.count; ++slot) {
      const int64_t user = order[static_cast<size_t>(position.consumed + slice.first + slot)];
      Timeline timeline = training_part(user);
      KeyedRandom random(Draw::kWindow, {spec_.seed, position.epoch, user});
      auto window = draw_window(timeline, positives_(timeline), spec_.window, random);
      if (!window) continue;
      timelines.push_back(std::move(timeline));
      rows.push_back({&timelines.back(), window->first, window->end,
                      static_cast<int64_t>(random.next())});
      batch.user.push_back(user);
      batch.slot.push_back(slot);
      batch.labels.push_back(std::move(window->labels));
    }
    if (rows.empty()) {
      timelines.push_back(placeholder());
      rows.push_back({&timelines.back(), 0, 1, 0});
      batch.user.push_back(0);
      batch.slot.push_back(0);
      batch.labels.emplace_back();
    }
    batch.inputs = make_batch(rows);
    return batch;
  }

  Timeline training_part(int64_t user) const {
    Timeline timeline = dataset_.timeline(user);
    const int64_t until =
        std::upper_bound(timeline.time.begin(), timeline.time.end(), spec_.train_until) -
        timeline.time.begin();
    const auto keep = static_cast<size_t>(
        std::max<int64_t>(0, std::min(until, timeline.size() - spec_.leave_out)));
    timeline.item.resize(keep);
    timeline.action.resize(keep);
    timeline.surface.resize(keep);
    timeline.time.resize(keep);
    timeline.duration.resize(keep);
    return timeline;
  }

  static Timeline placeholder() {
    Timeline timeline;
    timeline.item = {0};
    timeline.action = {0};
    timeline.surface = {0};
    timeline.time = {0};
    timeline.duration = {0};
    return timeline;
  }

  const Dataset& dataset_;
  std::vector<int64_t> users_;
  PositiveMarker positives_;
  LoaderSpec spec_;
  DataOptions options_;
  BoundedQueue<Delivery> queue_;
  std::thread thread_;  // last: starts when everything above is ready
};

DataLoader::DataLoader(const Dataset& dataset, std::vector<int64_t> users,
                       PositiveMarker positives, LoaderSpec spec, const DataOptions& options,
                       LoaderPosition start)
    : position_(start) {
  TORCH_CHECK(!users.empty(), "the loader has no users");
  producer_ = std::make_unique<Producer>(dataset, std::move(users), std::move(positives), spec,
                                         options, start);
}

DataLoader::~DataLoader() = default;

TrainingBatch DataLoader::next() {
  Delivery delivery = producer_->pop();
  position_ = delivery.after;
  return std::move(delivery.batch);
}

std::vector<int64_t> training_users(const Dataset& dataset, const SplitOptions& split) {
  std::vector<int64_t> users;
  for (int64_t user = 0; user < dataset.users(); ++user)
    if (dataset.timeline_length(user) >= 2 + left_out_events(split) &&
        is_training_user(dataset.user_hash(user), split))
      users.push_back(user);
  return users;
}

}  // namespace pinnerformer
