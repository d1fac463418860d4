// metrics.jsonl of a run (docs/operations.md), read for a report.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "launch/report/curve.h"

namespace pinnerformer {

// Where the time of all steps went, in milliseconds, as rank 0 saw it.
struct TimeSpent {
  double compute = 0;
  double data = 0;  // waited for the loader
  double comm = 0;  // waited for other ranks
  double save = 0;  // waited for checkpoints
  [[nodiscard]] double total() const { return compute + data + comm + save; }
};

struct ValidationFigures {
  int64_t step = 0;
  double recall_at_10 = 0, recall_at_50 = 0, ndcg_at_10 = 0;
};

struct RunMetrics {
  int64_t records = 0;
  int64_t last_step = 0;
  double last_loss = 0;
  double last_temperature = 0;
  double largest_memory_mib = 0;
  double largest_gpu_memory_mib = 0;  // 0 without a GPU
  std::vector<int64_t> world_sizes;   // each once, in the order of their first record
  int64_t skipped_users = 0;
  Curve loss, temperature, learning_rate, grad_norm, users_per_second, step_ms;
  Curve validation_recall;
  std::optional<ValidationFigures> best_validation;  // by recall_at_10
  TimeSpent time;
  std::vector<std::string> problems;  // lines that are no records, for people
};

// Reads a file of any size, line by line: a training may be writing it, so a last line without its
// end is no damage. Lines that are no records, or go back in steps, are counted and the first five
// named. The first record stands for at most `first_steps` steps: a run may go on from a checkpoint
// of another run. Throws MissingInputError, IoError or DataError (no regular file).
[[nodiscard]] RunMetrics read_metrics(const std::string& path,
                                      int64_t first_steps = std::numeric_limits<int64_t>::max());

}  // namespace pinnerformer
