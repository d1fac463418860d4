// pinnerformer verify-resume: trains past a checkpoint, continues from that checkpoint a second
// time, and compares both results bit by bit.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "dataloader/base/temporary.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/commands/registry.h"
#include "launch/job/agreed_precision.h"
#include "launch/job/session.h"
#include "launch/job/training_setup.h"
#include "trainer/checkpoint/checkpoint_diff.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

// Holds both runs; removed with everything in it. Under TMPDIR, else /tmp. What a killed process
// left there is removed by the next one.
struct WorkDirectory {
  static std::string target() { return fs::temp_directory_path() / "pinnerformer-verify-resume"; }
  std::string path = temporary_name(target());
  std::optional<DirectoryClaim> claim;
  WorkDirectory() {
    remove_abandoned_directories(target());
    fs::create_directories(path);
    claim.emplace(path);
  }
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  ~WorkDirectory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

// Trains in `directory` up to `step`, beginning with the checkpoint `from` unless that is "".
// Returns the checkpoint of that step.
std::string train_to(int64_t step, RunConfig config, const std::string& directory,
                     const std::string& from, const Dataset& dataset, const Ranks& ranks) {
  config.run.directory = directory;
  config.metrics = MetricsOptions();
  config.metrics.tensorboard = false;
  if (ranks.control->rank() == 0) fs::create_directories(directory);
  Trainer trainer(training_data(dataset, config), config, config.comm, ranks, to_yaml(config));
  trainer.resume({}, from);
  trainer.train({[&] { return trainer.step() >= step; }, {}});
  const auto saved = list_checkpoints(directory + "/checkpoints");
  return saved.empty() ? "" : saved.back();  // the coordinator alone sees the directory
}

std::vector<std::string> differences(const std::string& whole_path,
                                     const std::string& resumed_path) {
  const Checkpoint whole = load_checkpoint(whole_path, /*training=*/true);
  const Checkpoint resumed = load_checkpoint(resumed_path, /*training=*/true);
  std::vector<std::string> lines = info_differences(whole.info, resumed.info);
  for (const auto& [a, b] :
       {std::pair(&whole.model, &resumed.model), std::pair(&whole.training, &resumed.training)})
    for (const TensorDifference& tensor : tensor_differences(*a, *b))
      lines.push_back(describe(tensor));
  return lines;
}

// What both runs train with. None of this changes a weight, but checkpoints of the same state must
// be the same: validations save at steps of their own, the loss of a checkpoint is that of the
// records since the one before, and only whole item tables have the same files.
RunConfig comparable(RunConfig config, int64_t steps) {
  config.train.log_every = 1;
  config.validate = ValidateOptions();
  config.checkpoint = CheckpointOptions();  // without the real run's mirror
  config.checkpoint.every_steps = steps;
  config.checkpoint.keep_last = 2;
  config.train.steps = std::max(config.train.steps, 2 * steps);  // the schedule depends on it
  return config;
}

bool same_on_all_ranks(bool same, const Ranks& ranks) {
  torch::Tensor flag = torch::tensor({int64_t{same}}, torch::kInt64);
  ranks.control->broadcast(flag, 0, "verdict")->wait();
  return flag.item<int64_t>() != 0;
}

}  // namespace

int command_verify_resume(const Arguments& arguments) {
  int64_t steps = 20;
  CommandLine cli(
      "verify-resume",
      "Trains 2 K steps with a checkpoint after K, goes on from that checkpoint in a second "
      "run, and compares weights, optimizer and counts of both ends bit by bit. Exits "
      "with 1 where they differ. Both runs live in a temporary directory (TMPDIR).",
      "mpirun -n 2 pinnerformer verify-resume --config configs/quickstart.yaml --steps 20");
  cli.accept_config();
  cli.add_option("steps", "K", &steps, "steps before and after the checkpoint");
  if (!cli.parse(arguments)) return kDone;
  require_at_least("steps", steps, 1);
  RunConfig config = cli.config();
  const WorkDirectory work;
  config.run.directory = work.path;
  check_trainable(config);
  config = comparable(config, steps);
  const Dataset dataset = Dataset::open(config.data.path);

  const Session session(config.comm);
  const Ranks ranks = session.ranks();
  config.train.precision = agreed_precision(config.train.precision, ranks);
  const std::string whole = train_to(2 * steps, config, work.path + "/whole", "", dataset, ranks);
  const std::string middle =
      session.coordinator() ? checkpoint_path(work.path + "/whole/checkpoints", steps) : "";
  const std::string resumed =
      train_to(2 * steps, config, work.path + "/resumed", middle, dataset, ranks);
  std::vector<std::string> lines;
  if (session.coordinator()) {
    lines = differences(whole, resumed);
    for (const std::string& line : lines) std::cout << line << "\n";
    std::cout << (lines.empty() ? "the same, bit by bit" : "DIFFERENT") << ": " << 2 * steps
              << " steps, and " << steps << " + checkpoint + " << steps << ", on "
              << ranks.control->size() << " rank(s)" << std::endl;
    write_json_file(cli.json_file(), {{"same", lines.empty()},
                                      {"steps", steps},
                                      {"world_size", ranks.control->size()},
                                      {"differences", lines}});
  }
  return same_on_all_ranks(lines.empty(), ranks) ? kDone : kDiffers;
}

}  // namespace pinnerformer
