// Delivers this rank's share of every global batch, read and built ahead by a background thread.
#pragma once
#include <cstdint>
#include <memory>

#include "dataloader/base/row_set.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "dataloader/sampling/batch.h"
#include "dataloader/sampling/label_window.h"
#include "dataloader/sampling/sample_reader.h"

namespace pinnerformer {

// Where the loader stands. The same on every rank, and independent of how many there are.
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
};

// Every user of `users` comes once per epoch, in batches as Note [Order of an epoch] says: of equal
// size but for the last ones of an epoch, which may be smaller. A user whose timeline offers no
// sample is counted but takes no row. A rank without any sample gets one row without labels, so
// that every rank runs the same operations.
//
// Holds in memory this rank's samples of about one shuffle buffer, whatever the size of the
// dataset.
class DataLoader {
 public:
  // `dataset` must outlive the loader.
  DataLoader(const Dataset& dataset, UserSet users, MarkPositives positives, const LoaderSpec& spec,
             const DataOptions& options, LoaderPosition start);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  // The next batch. Where reading failed it says so in TrainingBatch::failure; the call after that
  // throws it.
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
