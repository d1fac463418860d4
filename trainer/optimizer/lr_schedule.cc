#include "trainer/optimizer/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pinnerformer {

double learning_rate_at(int64_t step, int64_t total_steps, const OptimizerOptions& options) {
  if (step < options.warmup_steps)
    return options.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(options.warmup_steps);
  if (options.schedule == LrSchedule::kConstant) return options.learning_rate;
  const auto left = static_cast<double>(std::max<int64_t>(1, total_steps - options.warmup_steps));
  const double done = std::min(1.0, static_cast<double>(step - options.warmup_steps) / left);
  return options.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace pinnerformer
