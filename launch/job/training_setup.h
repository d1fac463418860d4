// From a configuration to what a Trainer needs.
#pragma once
#include "configs/run_config.h"
#include "dataloader/dataset/dataset.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {

// Users, labels and times to train on; `dataset` must outlive what is returned. Throws DataError
// where no user is left.
[[nodiscard]] TrainingData training_data(const Dataset& dataset, const RunConfig& config);

}  // namespace pinnerformer
