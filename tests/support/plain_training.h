// Training as a plain program would write it: one process, dense gradients, one formula after the
// other. A Trainer with the same configuration must give the same losses and weights.
//
// Shared with the code under test are the draws (DataLoader, make_pairs(), NegativeSampler) and the
// model's forward pass; each has tests of its own. Everything that connects them to the options is
// written again here.
#pragma once
#include <torch/types.h>

#include <map>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "dataloader/dataset/dataset.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {

struct PlainRun {
  // By name; with an item table "item_table.rows" [R, E] and "item_table.updates" [R] too.
  std::map<std::string, torch::Tensor> weights;
  std::vector<double> losses;          // by step
  std::vector<double> learning_rates;  // by step
};

// What training may see, straight from the definitions of the keys data, positives and split.
[[nodiscard]] TrainingData plain_training_data(const Dataset& dataset, const RunConfig& config);

// Takes config.train.steps steps of a fresh run.
[[nodiscard]] PlainRun train_plainly(const Dataset& dataset, const RunConfig& config);

}  // namespace pinnerformer
