// What a plan must know of a dataset.
#pragma once
#include "configs/run_config.h"
#include "dataloader/dataset/dataset.h"
#include "launch/plan/step_shape.h"

namespace pinnerformer {

// Mean events of a sample of users with so many events, under the configuration's longest window
// and its rule for where a sample ends.
[[nodiscard]] double mean_window(double events, const RunConfig& config);

// Reads the dataset's descriptions, no event.
[[nodiscard]] DataShape data_shape(const Dataset& dataset, const RunConfig& config);

}  // namespace pinnerformer
