// The part of the trainer that is measured: steps without a loader, records or checkpoints.
#include "trainer/trainer.h"

namespace pinnerformer {

std::vector<double> Trainer::time_steps(int64_t warmup, int64_t steps) {
  constexpr size_t kBatches = 4;  // more than one, or caches would look better than they are
  model_->train();
  const std::unique_ptr<DataLoader> loader = make_loader(options_.objective);
  std::vector<TrainingBatch> batches;
  while (batches.size() < kBatches) batches.push_back(loader->next());
  std::vector<double> times;
  for (int64_t i = 0; i < warmup + steps; ++i) {
    clock_.reset();
    train_step(batches[static_cast<size_t>(i) % kBatches]);
    static_cast<void>(grad_norm_.item<float>());  // waits for the device
    ++step_;
    if (i >= warmup) times.push_back(clock_.elapsed_ms());
  }
  return times;
}

}  // namespace pinnerformer
