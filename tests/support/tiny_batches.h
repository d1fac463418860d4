// Small models and random batches for tests of the model's parts.
#pragma once
#include <cstdint>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "trainer/model/model.h"
#include "trainer/options.h"

namespace pinnerformer {

// Two blocks of width 16, 12 positions, dropout 0.
[[nodiscard]] ModelOptions tiny_model_options();
// 40 items with vectors of 8 elements, 3 actions, 4 surfaces.
[[nodiscard]] ModelInputs tiny_model_inputs();
// Rows of these lengths; durations are unknown here and there.
[[nodiscard]] Batch random_batch(const std::vector<int64_t>& lengths, int64_t seed);

// float32 of this shape: the sine of 0, step, 2 step, ...
[[nodiscard]] torch::Tensor waves(const std::vector<int64_t>& shape, double step);

}  // namespace pinnerformer
