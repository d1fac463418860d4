// What `train` prints at its end: how far it came, where the best checkpoint is, what to run next.
#pragma once
#include <cstdint>
#include <string>

namespace pinnerformer {

struct TrainOutcome {
  std::string run;  // directory
  int64_t first_step = 0;
  int64_t step = 0;  // both as steps taken
  int64_t total_steps = 0;
  bool done = false;  // false: asked to stop
  double seconds = 0;
  int64_t best_step = -1;  // of the validations of the run; -1: there was none
  double best_recall_at_10 = 0;
};

// Some lines, each with its end.
[[nodiscard]] std::string train_summary(const TrainOutcome& outcome);

}  // namespace pinnerformer
