// pinnerformer train: configuration -> dataset -> ranks -> trainer -> train().
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "configs/run_config.h"
#include "dataloader/dataset.h"
#include "dataloader/errors.h"
#include "dataloader/positives.h"
#include "dataloader/split.h"
#include "launch/cli.h"
#include "launch/command.h"
#include "launch/json_file.h"
#include "launch/preflight.h"
#include "launch/run_lock.h"
#include "launch/session.h"
#include "launch/stored_config.h"
#include "trainer/trainer.h"

namespace pinnerformer {
namespace {

TrainingData training_data(const Dataset& dataset, const RunConfig& config) {
  const PositiveRule rule(config.positives, dataset);
  TrainingData data;
  data.dataset = &dataset;
  data.users = training_users(dataset, config.split);
  data.positives = [rule](const Timeline& timeline) { return rule.mark(timeline); };
  data.train_until = training_end(dataset, config.split);
  data.leave_out = left_out_events(config.split);
  data.options = config.data;
  if (data.users.empty())
    throw DataError(config.data.path +
                    " has no user to train on: all have fewer than two events "
                    "or are held out (split.users_percent)");
  return data;
}

void write_config(const RunConfig& config) {
  std::ofstream file(config.run.directory + "/config.yaml");
  file << to_yaml(config);
  if (!file) throw IoError("cannot write " + config.run.directory + "/config.yaml");
}

}  // namespace

int command_train(const Arguments& arguments) {
  CommandLine cli(
      "train", "Trains a model, and goes on from the newest checkpoint of its run directory.",
      "mpirun -n 4 pinnerformer train --config configs/quickstart.yaml train.steps=200");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  const RunConfig config = cli.config();
  check_trainable(config);
  const Dataset dataset = Dataset::open(config.data.path);

  const Session session(config.comm);
  std::optional<RunLock> lock;
  if (session.coordinator()) lock.emplace(config.run.directory);
  Trainer trainer(training_data(dataset, config), config, config.comm, session.ranks(),
                  to_yaml(config));
  std::vector<AgreedItem> job = {{"configuration", to_yaml(config)},
                                 {"dataset", dataset.fingerprint()}};
  for (AgreedItem& item : trainer.layout()) job.push_back(std::move(item));
  require_same_job(*session.ranks().control, std::move(job));
  trainer.resume([&](const std::string& stored) {
    require_stored_config(config, parse_config(stored),
                          {"run.directory", "data.", "train.steps", "train.log_every", "train.accumulate",
                           "train.on_nonfinite",
                           "checkpoint.", "comm.", "evaluate.", "item.id_table.placement"},
                          "go on with " + config.run.directory);
  });
  // Only now: a refused configuration must not replace the one the run was made with.
  if (session.coordinator()) write_config(config);
  trainer.train();
  if (session.coordinator())
    write_json_file(cli.json_file(), {{"run", config.run.directory}, {"step", trainer.step()}});
  return kDone;
}

}  // namespace pinnerformer
