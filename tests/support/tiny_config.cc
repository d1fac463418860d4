// The words go through the configuration's keys, as those of a user do.
#include "tests/support/tiny_config.h"

#include <filesystem>

#include "comm/thread_communicator.h"
#include "launch/job/training_setup.h"

namespace pinnerformer {
namespace {

const std::vector<std::string> kTinyWords = {
    "run.seed=11",
    "data.block_users=4",
    "data.shuffle_blocks=3",
    "positives.actions=save",
    "split.users_percent=20",
    "split.window_days=5",
    "model.max_length=12",
    "model.hidden=16",
    "model.layers=2",
    "model.heads=2",
    "model.output=6",
    "model.item_hidden=10",
    "model.action_dim=4",
    "model.surface_dim=5",
    "item.table.placement=replicated",
    "item.table.dim=6",
    "item.table.learning_rate=0.02",
    "item.table.unknown_rate=0.1",
    "objective.window_days=10",
    "objective.positions=4",
    "objective.max_labels=3",
    "negatives.in_batch=16",
    "negatives.random=25",
    "optimizer.learning_rate=5e-3",
    "optimizer.warmup_steps=2",
    // Where a gradient is zero but for rounding, Adam makes a full step of the rounding error. This
    // epsilon keeps that below the tolerance of the tests.
    "optimizer.epsilon=1e-5",
    "train.steps=4",
    "train.global_batch_users=10",
    "train.log_every=1",
    "checkpoint.every_steps=1000",
};

}  // namespace

RunConfig tiny_config(const std::string& dataset, const std::string& run,
                      const std::vector<std::string>& words) {
  std::vector<std::string> all = kTinyWords;
  all.push_back("data.path=" + dataset);
  all.push_back("run.directory=" + run);
  all.insert(all.end(), words.begin(), words.end());
  return load_config("", all);
}

void train_config(const Dataset& dataset, const RunConfig& config,
                  const std::function<void(Trainer&)>& after,
                  const std::function<void(Trainer&)>& before) {
  std::filesystem::create_directories(config.run.directory);
  const auto comm = make_single_communicator();
  Trainer trainer(training_data(dataset, config), config, config.comm,
                  Ranks{comm.get(), comm.get(), torch::kCPU}, to_yaml(config));
  trainer.resume();
  if (before) before(trainer);
  trainer.train();
  if (after) after(trainer);
}

}  // namespace pinnerformer
