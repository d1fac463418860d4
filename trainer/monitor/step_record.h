// What is told of a logged step and of a saved checkpoint: the values behind metrics.jsonl, the
// console, TensorBoard and Prometheus. On rank 0.
#pragma once
#include <cstdint>
#include <optional>

namespace pinnerformer {

// On the validation users, after the step of its record.
struct ValidationRecord {
  double recall_at_10 = 0, recall_at_50 = 0, ndcg_at_10 = 0;
  int64_t positives = 0;
};

struct StepRecord {
  int64_t step = 0;
  int64_t epoch = 0;
  double loss = 0;  // mean over the steps since the last record
  double temperature = 0;
  double learning_rate = 0;
  double grad_norm = 0;  // before clipping
  double users_per_second = 0;
  double step_ms = 0;        // mean over the steps since the last record, as the waits below
  double data_wait_ms = 0;   // the step waited for the loader
  double comm_wait_ms = 0;   // the step waited for other ranks
  double save_stall_ms = 0;  // all steps since the last record together waited for checkpoints
  double memory_mib = 0;     // resident memory of this rank
  // Most memory held on the GPU so far; nothing on a CPU.
  std::optional<double> gpu_memory_mib = std::nullopt;
  // Model FLOP of this rank in a second, as a share of metrics.peak_tflops; nothing without that.
  std::optional<double> mfu = std::nullopt;
  int world_size = 1;
  int64_t skipped_users = 0;    // of bad blocks, since the last record
  int64_t nonfinite_steps = 0;  // skipped since the last record: their gradient was not finite
  std::optional<ValidationRecord> validation = std::nullopt;
  // Of all validations of the run so far; step -1: there was none.
  int64_t best_step = -1;
  double best_recall_at_10 = 0;
};

struct SavedCheckpoint {
  int64_t step = 0;
  double time = 0;  // when it was on the disk, seconds since 1970
  // Nothing where an earlier start of the run saved it.
  std::optional<int64_t> bytes = std::nullopt;
  std::optional<double> seconds = std::nullopt;  // that saving it took
};

}  // namespace pinnerformer
