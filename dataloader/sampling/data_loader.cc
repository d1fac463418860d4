#include "dataloader/sampling/data_loader.h"

#include <optional>
#include <thread>
#include <utility>

#include "dataloader/base/bounded_queue.h"
#include "dataloader/base/errors.h"
#include "dataloader/sampling/epoch_plan.h"
#include "dataloader/sampling/shuffle_buffer.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {

struct DataLoader::Delivery {
  TrainingBatch batch;
  LoaderPosition after;
};

class DataLoader::Producer {
 public:
  Producer(const Dataset& dataset, UserSet users, MarkPositives positives, const LoaderSpec& spec,
           const DataOptions& options, LoaderPosition start)
      : users_(std::move(users)),
        spec_(spec),
        shape_{users_.size(), spec.global_batch_users, options.block_users, options.shuffle_blocks,
               spec.seed},
        reader_(dataset, std::move(positives), spec.window, spec.part, spec.seed, options),
        position_(start),
        queue_(static_cast<size_t>(options.prefetch_batches)),
        thread_([this] { run(); }) {}

  ~Producer() {
    queue_.close();
    thread_.join();
  }

  Delivery pop() { return queue_.pop(); }

 private:
  void run() try {
    std::unique_ptr<ShuffleBuffer> buffer = open({position_.epoch, number_of(position_)});
    int64_t turn = turn_of(position_, buffer->plan());
    try {
      buffer->read_up_to(1, reader_, skipped_);
      while (deliver_buffer(buffer, turn)) turn = 0;
    } catch (...) {
      TrainingBatch batch = buffer->empty(turn);
      batch.failure = std::current_exception();
      queue_.push({std::move(batch), position_});
      throw;
    }
  } catch (...) {
    queue_.fail(std::current_exception());
  }

  struct BufferName {
    int64_t epoch = 0;
    int64_t number = 0;
  };

  // Delivers the batches of `buffer` from `turn` on, and reads the next buffer between them; then
  // replaces `buffer` by the next one. False once the loader is being destroyed.
  bool deliver_buffer(std::unique_ptr<ShuffleBuffer>& buffer, int64_t& turn) {
    std::unique_ptr<ShuffleBuffer> next = open(next_buffer(buffer->plan()));
    const int64_t turns = std::ssize(buffer->plan().order());
    for (; turn < turns; ++turn) {
      next->read_up_to(static_cast<double>(turn + 1) / static_cast<double>(turns), reader_,
                       skipped_);
      Delivery delivery{buffer->take(turn), {}};
      if (spec_.finish_batch) spec_.finish_batch(delivery.batch.inputs);
      advance(delivery.batch.global_slots);
      delivery.after = position_;
      auto [count, reason] = std::exchange(skipped_, {});
      delivery.batch.skipped_users = count;
      delivery.batch.skipped_because = std::move(reason);
      if (!queue_.push(std::move(delivery))) return false;
    }
    buffer = std::move(next);
    return true;
  }

  // At the end of an epoch the position is the start of the next, so that it is unique.
  void advance(int64_t users) {
    position_.consumed += users;
    if (position_.consumed == shape_.users) position_ = {position_.epoch + 1, 0};
  }

  [[nodiscard]] int64_t number_of(LoaderPosition position) const {
    return buffer_of(shape_, position.consumed);
  }

  // The buffer after the current one, whose plan this is.
  [[nodiscard]] BufferName next_buffer(const BufferPlan& plan) const {
    if (plan.places().end() == shape_.users) return {position_.epoch + 1, 0};
    return {position_.epoch, number_of({position_.epoch, plan.places().end()})};
  }

  // How many batches of the buffer have been delivered.
  static int64_t turn_of(LoaderPosition position, const BufferPlan& plan) {
    int64_t left = position.consumed - plan.places().first;
    int64_t turn = 0;
    for (; left > 0 && turn < std::ssize(plan.order()); ++turn)
      left -= plan.batch_users(plan.order()[static_cast<size_t>(turn)]);
    if (left != 0)
      throw DataError("position " + std::to_string(position.consumed) +
                      " of the epoch lies within a batch: it was stored under another " +
                      "data.block_users, data.shuffle_blocks or batch size, or was changed");
    return turn;
  }

  std::unique_ptr<ShuffleBuffer> open(BufferName name) {
    if (!order_ || order_epoch_ != name.epoch) order_.emplace(shape_, name.epoch);
    order_epoch_ = name.epoch;
    return std::make_unique<ShuffleBuffer>(users_, *order_,
                                           BufferPlan(shape_, name.epoch, name.number), name.epoch,
                                           spec_.rank, spec_.world);
  }

  UserSet users_;
  LoaderSpec spec_;
  EpochShape shape_;
  SampleReader reader_;
  LoaderPosition position_;
  SkippedUsers skipped_;             // since the last batch
  std::optional<BlockOrder> order_;  // of order_epoch_
  int64_t order_epoch_ = 0;
  BoundedQueue<Delivery> queue_;
  std::thread thread_;  // last: starts when everything above is ready
};

DataLoader::DataLoader(const Dataset& dataset, UserSet users, MarkPositives positives,
                       const LoaderSpec& spec, const DataOptions& options, LoaderPosition start)
    : position_(start) {
  TORCH_CHECK(!users.empty(), "the loader has no users");
  if (start.epoch < 0 || start.consumed < 0 || start.consumed >= users.size())
    throw DataError("position " + std::to_string(start.consumed) + " of epoch " +
                    std::to_string(start.epoch) + " does not exist: an epoch has " +
                    std::to_string(users.size()) + " users");
  producer_ = std::make_unique<Producer>(dataset, std::move(users), std::move(positives), spec,
                                         options, start);
}

DataLoader::~DataLoader() = default;

TrainingBatch DataLoader::next() {
  Delivery delivery = producer_->pop();
  position_ = delivery.after;
  return std::move(delivery.batch);
}

UserSet training_users(const Dataset& dataset, const SplitOptions& split) {
  UserSet users;
  for (int64_t user = 0; user < dataset.users(); ++user)
    if (dataset.timeline_length(user) >= least_training_events(split) &&
        is_training_user(dataset.user_hash(user), split))
      users.add(user);
  return users;
}

}  // namespace pinnerformer
