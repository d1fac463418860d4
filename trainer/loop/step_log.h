// What a run tells of its steps: sums since the last record, times, and the record itself.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "comm/ranks.h"
#include "dataloader/sampling/batch.h"
#include "trainer/evaluation/validation.h"
#include "trainer/loop/metrics.h"
#include "trainer/loop/step_plan.h"
#include "trainer/loop/stopwatch.h"
#include "trainer/loop/training_data.h"
#include "trainer/loop/training_step.h"
#include "trainer/loop/wait_timer.h"
#include "trainer/monitor/run_monitor.h"
#include "trainer/monitor/step_record.h"
#include "trainer/options.h"

namespace pinnerformer {

// Wall time since the last record.
struct StepTimers {
  explicit StepTimers(torch::Device device) : comm_wait(device) {}
  Stopwatch clock;       // of the steps; saving is left out
  Stopwatch data_wait;   // steps waited for the loader
  WaitTimer comm_wait;   // steps waited for other ranks
  Stopwatch save_stall;  // steps waited for checkpoints
};

class StepLog {
 public:
  // `config` is the resolved configuration, for TensorBoard.
  StepLog(const TrainerOptions& options, const Ranks& ranks, std::string config);

  // From now on the coordinator writes metrics.jsonl and log.txt of the run directory and whatever
  // else shows the training (RunMonitor). Records of steps after `step` are dropped: they will be
  // taken again. Throws IoError.
  void open(int64_t step);
  // The training has ended as it should. Nothing is recorded afterwards.
  void finish();
  // A line for people. Does nothing on other ranks, and before open().
  void note(const std::string& line);

  [[nodiscard]] StepTimers& timers() { return timers_; }

  void add(const TrainingBatch& batch, const StepResult& result);
  void add_skipped_users(const StepPlan& plan);
  void add_skipped_step() { ++skipped_steps_; }
  // Goes into the next record.
  void add_validation(const ValidationResult& result) { validation_ = result; }
  // A checkpoint that is on the disk. Does nothing on other ranks.
  void add_save(const SavedCheckpoint& checkpoint);
  // Means since the last record, as one record. Every rank must call it; waits for the device.
  void record(const RunProgress& progress, double temperature);
  // Forgets what was measured since the last record: the next one begins here.
  void restart();

  // Mean loss of the steps recorded since the last call; nothing where there are none.
  [[nodiscard]] std::optional<double> take_mean_loss();

 private:
  [[nodiscard]] int64_t steps_with_loss() const { return steps_ - skipped_steps_ - empty_steps_; }
  // `loss_sum`: of all ranks and steps since the last record.
  [[nodiscard]] StepRecord make_record(const RunProgress& progress, double temperature,
                                       double loss_sum);

  const TrainerOptions& options_;
  Ranks ranks_;
  std::string config_;
  std::unique_ptr<MetricsLog> log_;      // on the coordinator, from open() on
  std::unique_ptr<RunMonitor> monitor_;  // likewise, until finish()
  int64_t step_ = 0;                     // steps taken, from open() on
  StepTimers timers_;
  // Since the last record:
  torch::Tensor loss_sum_;   // of this rank's parts
  torch::Tensor grad_norm_;  // of the last step
  int64_t steps_ = 0, users_ = 0, skipped_users_ = 0;
  int64_t skipped_steps_ = 0;  // their gradient was not finite
  int64_t empty_steps_ = 0;    // without a pair
  double flops_ = 0;           // of this rank
  std::optional<ValidationResult> validation_;
  // Since take_mean_loss(): the recorded losses, each times its steps, and those steps.
  double recorded_loss_ = 0;
  int64_t recorded_steps_ = 0;
};

// The most memory that this process has held on the device so far; nothing on the CPU, and where
// the device does not tell.
[[nodiscard]] std::optional<double> device_memory_mib(torch::Device device);

}  // namespace pinnerformer
