// The part of the trainer that is measured: steps without a loader, records or checkpoints.
#include <algorithm>

#include "trainer/loop/trainer.h"

namespace pinnerformer {

Trainer::StepTimes Trainer::time_steps(int64_t warmup, int64_t steps) {
  // More than one, or caches would look better than they are. No more than steps: what is wrong
  // with a batch is told by the step that takes it, on all ranks together.
  const auto count = static_cast<size_t>(std::min(warmup + steps, int64_t{4}));
  model_->train();
  const std::unique_ptr<DataLoader> loader = make_loader(options_.objective);
  std::vector<TrainingBatch> batches;
  while (batches.size() < count) batches.push_back(loader->next());
  StepTimes times;
  double events = 0, users = 0;
  for (const TrainingBatch& batch : batches) {
    events += batch.inputs.length.sum().item<double>();
    users += static_cast<double>(batch.inputs.users());
  }
  times.mean_window = users == 0 ? 0 : events / users;
  for (int64_t i = 0; i < warmup + steps; ++i) {
    clock_.reset();
    train_step(batches[static_cast<size_t>(i) % count]);
    static_cast<void>(grad_norm_.item<float>());  // waits for the device
    ++step_;
    if (i >= warmup) times.ms.push_back(clock_.elapsed_ms());
  }
  check_last_step();
  return times;
}

}  // namespace pinnerformer
