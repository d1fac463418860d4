// A whole configuration for the tiny dataset, and a run of it inside the process of a test.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "dataloader/dataset/dataset.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {

// A model of width 16 with learned item rows of 6 elements, 4 steps of 10 users with dropout, a
// record every step. Most keys have a value that is not their default. `words` are key=value words
// on top of it.
[[nodiscard]] RunConfig tiny_config(const std::string& dataset, const std::string& run,
                                    const std::vector<std::string>& words = {});

// Trains as `pinnerformer train` does, on one rank: training_data(), Trainer, resume(), train().
// Calls `before` on the trainer before it trains and `after` when it has.
void train_config(const Dataset& dataset, const RunConfig& config,
                  const std::function<void(Trainer&)>& after = {},
                  const std::function<void(Trainer&)>& before = {});

}  // namespace pinnerformer
