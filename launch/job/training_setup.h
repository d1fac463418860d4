// From a configuration to what a Trainer needs.
#pragma once
#include <optional>

#include "configs/run_config.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/split_summary.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {

// Users, labels and times to train on; `dataset` must outlive what is returned. Throws DataError
// where no user is left.
[[nodiscard]] TrainingData training_data(const Dataset& dataset, const RunConfig& config);

// How many users and positives the configuration trains on and holds out. Nothing where the events
// cannot be read: training reports that, and may be told to skip them (data.on_bad_block).
[[nodiscard]] std::optional<SplitSummary> split_summary(const Dataset& dataset,
                                                        const RunConfig& config);

}  // namespace pinnerformer
