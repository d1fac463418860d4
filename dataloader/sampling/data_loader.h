// Delivers this rank's slice of every global batch; a background thread reads and builds ahead.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include "dataloader/base/row_set.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "dataloader/sampling/batch.h"
#include "dataloader/sampling/label_window.h"
#include "dataloader/sampling/sample_reader.h"

namespace pinnerformer {

// The position of the loader. The same on every rank and for every number of ranks.
struct LoaderPosition {
  int64_t epoch = 0;
  int64_t consumed = 0;  // users of this epoch already delivered, over all ranks
};

struct LoaderSpec {
  WindowSpec window;
  TrainingPart part;
  int64_t global_batch_users = 1;
  int64_t seed = 0;
  int rank = 0;
  int world = 1;
  // May add to the inputs of a batch. Runs in the loader's thread, while a step runs.
  std::function<void(Batch&)> finish_batch = {};
};

// Every user of `users` is delivered once per epoch, in batches as in Note [Order of an epoch]: of
// equal size, except that the last ones of an epoch may be smaller. A user whose timeline has no
// sample is counted but takes no row. A rank without any sample gets one row without labels, so
// that every rank runs the same operations.
//
// Memory: this rank's samples of about one shuffle buffer, for any size of the dataset.
class DataLoader {
 public:
  // `dataset` must outlive the loader.
  DataLoader(const Dataset& dataset, UserSet users, MarkPositives positives, const LoaderSpec& spec,
             const DataOptions& options, LoaderPosition start);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  // The next batch. Where reading failed, TrainingBatch::failure holds the error, and the call
  // after that throws it.
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
[[nodiscard]] UserSet training_users(const Dataset& dataset, const SplitOptions& split);

}  // namespace pinnerformer
