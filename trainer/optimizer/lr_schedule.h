// Learning rate as a pure function of the step: linear warm-up, then cosine to zero.
#pragma once
#include <cstdint>

#include "trainer/options.h"

namespace pinnerformer {

// `step` counts from 0; the rate of the step about to be taken.
[[nodiscard]] double learning_rate_at(int64_t step, int64_t total_steps,
                                      const OptimizerOptions& options);

}  // namespace pinnerformer
