// Delivers this rank's share of every global batch, built ahead by a background thread.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "dataloader/batch.h"
#include "dataloader/dataset.h"
#include "dataloader/label_window.h"
#include "dataloader/options.h"

namespace pinnerformer {

// Where the loader stands. The same on every rank, and independent of how many there are.
struct LoaderPosition {
  int64_t epoch = 0;
  int64_t consumed = 0;  // users of this epoch's order already delivered, over all ranks
};

// Marks the positives of a timeline, one byte per event.
using PositiveMarker = std::function<std::vector<uint8_t>(const Timeline&)>;

struct LoaderSpec {
  WindowSpec window;
  int64_t train_until = 0;  // seconds; later events do not exist for training
  int64_t global_batch_users = 1;
  int64_t seed = 0;
  int rank = 0;
  int world = 1;
  int64_t leave_out = 0;  // last events of every timeline that do not exist for training either
};

// Every user of `users` comes once per epoch; the last batch of an epoch may be smaller. A user
// whose timeline offers no sample is counted but takes no row. A rank without any sample gets one
// row without labels, so that every rank runs the same operations.
class DataLoader {
 public:
  // `dataset` must outlive the loader.
  DataLoader(const Dataset& dataset, std::vector<int64_t> users, PositiveMarker positives,
             LoaderSpec spec, const DataOptions& options, LoaderPosition start);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  // The next batch; rethrows what the background thread met (DataError, IoError).
  TrainingBatch next();
  // Position after the batches delivered so far: what a checkpoint stores.
  [[nodiscard]] LoaderPosition position() const { return position_; }

 private:
  class Producer;
  struct Delivery;
  std::unique_ptr<Producer> producer_;
  LoaderPosition position_;
};

// Users to train on: not held out for evaluation, with at least two events.
[[nodiscard]] std::vector<int64_t> training_users(const Dataset& dataset,
                                                  const SplitOptions& split);

}  // namespace pinnerformer
