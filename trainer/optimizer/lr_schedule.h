// The learning rate as a function of the step: linear warm-up, then a cosine down to zero,
// or constant.
#pragma once
#include <cstdint>

#include "trainer/options.h"

namespace pinnerformer {

// The rate of step `step`, which counts from 0.
[[nodiscard]] double learning_rate_at(int64_t step, int64_t total_steps,
                                      const OptimizerOptions& options);

}  // namespace pinnerformer
