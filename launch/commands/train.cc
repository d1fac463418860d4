// pinnerformer train: configuration -> dataset -> ranks -> trainer -> train().
#include <algorithm>
#include <climits>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "comm/errors.h"
#include "configs/errors.h"
#include "configs/run_config.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/published_file.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/dataset/dataset_writer.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/launcher_rank.h"
#include "launch/cli/option_checks.h"
#include "launch/commands/registry.h"
#include "launch/commands/train_device.h"
#include "launch/commands/train_summary.h"
#include "launch/job/job_deadline.h"
#include "launch/job/machine_record.h"
#include "launch/job/memory_estimate.h"
#include "launch/job/preflight.h"
#include "launch/job/process_memory.h"
#include "launch/job/run_lock.h"
#include "launch/job/session.h"
#include "launch/job/stop_signals.h"
#include "launch/job/stored_config.h"
#include "launch/job/training_setup.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/evaluation/evaluation_cases.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {
namespace {

// A path that is too long would fail at the first checkpoint only.
void check_path_length(const std::string& directory) {
  constexpr size_t kLongestName = 128;  // of a file below the run directory
  const std::string path = std::filesystem::absolute(directory);
  if (path.size() + kLongestName > PATH_MAX)
    throw ConfigError("run.directory: the path has " + std::to_string(path.size()) +
                      " characters; at most " + std::to_string(PATH_MAX - kLongestName) +
                      " leave room for the files of a checkpoint. Choose a shorter one");
}

// `import --overwrite` into the dataset would remove the run.
void check_no_dataset(const std::string& directory) {
  if (holds_dataset(directory))
    throw ConfigError("run.directory: " + directory +
                      " holds a dataset; choose a directory of its own for the run");
}

// A checkpoint is removed when newer ones are there, and with it a run in it.
void check_no_checkpoint(const std::string& directory) {
  const std::filesystem::path path =
      std::filesystem::absolute(directory + "/").lexically_normal().parent_path();
  for (const std::filesystem::path& at : {path, path.parent_path()})
    if (at.filename().string().starts_with("step-") && std::filesystem::exists(at / kManifestName))
      throw ConfigError("run.directory: " + directory + " lies in the checkpoint " + at.string() +
                        "; the run directory is the one above its directory of checkpoints");
  if (path.filename() == "checkpoints" && !list_checkpoints(path).empty())
    throw ConfigError("run.directory: " + directory +
                      " is the directory of checkpoints of a run; give the run directory above");
}

// Later on a file that cannot be written is a warning only. Rank 0 alone writes it.
void check_prometheus_file(const std::string& path) {
  if (path.empty() || !speaks_for_all_ranks()) return;
  const std::string directory = std::filesystem::absolute(path).parent_path();
  if (!std::filesystem::is_directory(directory))
    throw ConfigError("metrics.prometheus_file: there is no directory " + directory +
                      "; make it, or give another file");
  try {
    check_replaceable(path);
  } catch (const IoError& error) {
    throw ConfigError(std::string("metrics.prometheus_file: ") + error.what());
  }
}

// What --resume says: "auto", "never" or a checkpoint. Returns the checkpoint, if any.
std::string checked_resume(const std::string& resume, const RunConfig& config) {
  if (resume == "auto") return "";
  auto found = list_checkpoints(config.run.directory + "/checkpoints");
  if (resume == "never") {
    std::ranges::move(list_checkpoints(config.checkpoint.mirror), std::back_inserter(found));
    if (!found.empty())
      throw UsageError("--resume never, but " + found.back() + " exists: give a fresh " +
                       "run.directory, or leave --resume out to go on");
    return "";
  }
  const std::string path = resolve_checkpoint_path(resume);
  if (!found.empty()) return path;  // a job that was started again no longer needs it
  if (!std::filesystem::is_directory(path))
    throw MissingInputError("--resume: there is no checkpoint " + path +
                            "; give never, auto or the directory of a checkpoint");
  if (!std::filesystem::exists(path + "/" + kManifestName))
    throw UsageError("--resume: " + path + " is no checkpoint, it has no " + kManifestName +
                     "; expected one such as RUN/500. A run goes on from its own checkpoints "
                     "without --resume");
  return path;
}

// Paths of one directory may differ: by a slash at the end, or by where they begin.
bool is_same_directory(const std::string& a, const std::string& b) {
  return lies_within(a, b) && lies_within(b, a);
}

// The file of a mirror that names its run, by an absolute path.
constexpr const char* kMirrorOwner = "run_directory";

// "" where the mirror has no such file.
std::string owner_of_mirror(const std::string& mirror) {
  constexpr int64_t kLongestPath = 1 << 16;
  const std::string path = mirror + "/" + kMirrorOwner;
  if (!std::filesystem::exists(path)) return "";
  std::string owner = read_whole_file(path, kLongestPath);
  owner.resize(owner.find_last_not_of('\n') + 1);
  return owner;
}

// A mirror that cannot be written is reported by its first copy, and does not end a training.
void claim_mirror(const std::string& mirror, const std::string& run_directory) try {
  std::filesystem::create_directories(mirror);
  publish_text(mirror + "/" + kMirrorOwner,
               std::filesystem::absolute(run_directory).lexically_normal().string() + "\n");
} catch (const std::exception&) {
}

// A run would take the checkpoints of another one for its own. Called on the coordinator.
void check_mirror(const RunConfig& config) {
  const std::string& mirror = config.checkpoint.mirror;
  if (mirror.empty()) return;
  if (std::filesystem::exists(mirror) && !std::filesystem::is_directory(mirror))
    throw ConfigError("checkpoint.mirror: " + mirror + " is a file: expected a directory");
  if (lies_within(mirror, config.run.directory))
    throw ConfigError("checkpoint.mirror: " + mirror + " lies in the run directory " +
                      config.run.directory + " and would be lost with it; give a directory on " +
                      "another disk");
  if (holds_dataset(mirror))  // `import --overwrite` would remove the copies
    throw ConfigError("checkpoint.mirror: " + mirror +
                      " holds a dataset; choose a directory of its own for the copies");
  const NewestCheckpoint newest = find_newest_checkpoint(mirror);
  if (!newest.path) return;
  std::string owner = owner_of_mirror(mirror);
  if (owner.empty())  // of an earlier program
    owner = parse_config(read_whole_file(*newest.path + "/config.yaml", int64_t{1} << 20))
                .run.directory;
  if (!is_same_directory(owner, config.run.directory))
    throw ConfigError("checkpoint.mirror: " + mirror + " is of the run " + owner + ", not of " +
                      config.run.directory + ": give every run a mirror of its own. If the run " +
                      "was renamed, write its absolute path into " + mirror + "/" + kMirrorOwner);
}

// The newest whole checkpoint of a run, or a checkpoint itself.
std::string checked_init_from(const std::string& given) {
  const std::string path = resolve_checkpoint_path(given);
  if (!std::filesystem::is_directory(path))
    throw MissingInputError("--init-from: there is no directory " + path +
                            "; give a run directory or a checkpoint");
  if (std::filesystem::exists(path + "/" + kManifestName)) return path;
  const NewestCheckpoint newest = find_newest_checkpoint(path + "/checkpoints");
  std::string reasons;
  for (const std::string& reason : newest.rejected) reasons += "\n  " + reason;
  if (!newest.path)
    throw CheckpointError("--init-from: " + path + " is neither a checkpoint (it has no " +
                          kManifestName + ") nor a run with a whole checkpoint" + reasons);
  if (!reasons.empty())
    std::cerr << "pinnerformer: --init-from skipped damaged checkpoints:" + reasons + "\n";
  return *newest.path;
}

struct UserCounts {
  int64_t training = 0;
  int64_t held_out = 0;
};

// What --dry-run does once everything is built. Every rank calls it.
int try_one_step(const CommandLine& cli, const Session& session, Trainer& trainer,
                 const UserCounts& users, const std::optional<SplitSummary>& split) {
  const double step_ms = trainer.time_steps(/*warmup=*/0, /*steps=*/1).ms.front();
  if (!session.coordinator()) return kDone;
  const Ranks ranks = session.ranks();
  const double memory_mib = peak_memory_mib();
  const ItemTable* table = trainer.item_table();
  const int64_t item_rows = table == nullptr ? 0 : table->rows();
  const int64_t parameters = count_parameters(trainer.model());
  std::cout << "dry run: works on " << ranks.control->size() << " rank(s), rank 0 on "
            << ranks.device.str() << ": " << parameters << " parameters, "
            << (table == nullptr ? "no item table"
                                 : "an item table of " + std::to_string(item_rows) + " rows")
            << ", first step " << std::lround(step_ms) << " ms, memory " << std::lround(memory_mib)
            << " MiB on rank 0; " << users.training << " users to train on, " << users.held_out
            << " held out for evaluation; nothing was written" << std::endl;
  nlohmann::json result{{"dry_run", true},
                        {"ranks", ranks.control->size()},
                        {"parameters", parameters},
                        {"item_rows", item_rows},
                        {"training_users", users.training},
                        {"held_out_users", users.held_out},
                        {"step_ms", step_ms},
                        {"memory_mib", memory_mib}};
  if (split) {
    result["counted_users"] = split->users;
    result["evaluated_users"] = split->evaluated_users;
    result["evaluated_positives"] = split->evaluated_positives;
    result["labelled_users"] = split->labelled_users;
    result["positions"] = split->positions;
    result["labelled_positions"] = split->labelled_positions;
  }
  write_json_file(cli.json_file(), result);
  return kDone;
}

// What may differ between a training and the one whose weights it begins with.
std::function<void(const std::string&)> accept_as_start(const RunConfig& config,
                                                        const std::string& from) {
  return [&config, from](const std::string& stored) {
    require_same_model(config, parse_config(stored), "begin with the weights of " + from);
  };
}

// What may differ between a run and the configuration that goes on with it.
std::function<void(const std::string&)> accept_stored(const RunConfig& config) {
  return [&config](const std::string& stored) { require_same_run(config, parse_config(stored)); };
}

// Throws where the ranks have different configurations, datasets or models. Every rank calls it.
void require_same_training(const RunConfig& config, const Dataset& dataset, Trainer& trainer,
                           Communicator& control) {
  std::vector<AgreedItem> job = {{"configuration", to_yaml(config)},
                                 {"dataset", dataset.fingerprint()}};
  for (AgreedItem& item : trainer.layout()) job.push_back(std::move(item));
  require_same_job(control, std::move(job));
}

// The coordinator prints what there is to train and to evaluate on; other ranks do nothing.
std::optional<SplitSummary> print_split(const RunConfig& config, const Dataset& dataset,
                                        const Session& session) {
  if (!session.coordinator()) return std::nullopt;
  std::optional<SplitSummary> split = split_summary(dataset, config);
  if (split) std::cout << describe_split(*split) << std::endl;
  return split;
}

// A job that lost a node is started with the ranks there are, but not with too few of them.
void require_ranks(const Ranks& ranks, int64_t least) {
  if (ranks.control->size() >= least) return;
  throw CommError(std::to_string(ranks.control->size()) +
                  " ranks are here, --least-ranks asks for " + std::to_string(least) +
                  ": start again when there are more nodes");
}

// Shorter than the other ranks wait before they report this one.
double longest_lock_wait_seconds(const CommOptions& options) {
  return std::min(5.0, options.straggler_seconds / 2);
}

// Where a training begins if its run has no checkpoint; "" where that is not asked for. Read on the
// coordinator.
struct Beginning {
  std::string resume;     // checkpoint to go on from
  std::string init_from;  // run or checkpoint whose weights to take
};

// Every rank calls it: `asked` is the same on all.
void init_trainer(const RunConfig& config, const Session& session, Trainer& trainer,
                  const std::string& asked) {
  if (asked.empty() || trainer.resumed()) return;
  const std::string from = session.coordinator() ? checked_init_from(asked) : "";
  trainer.init_from(accept_as_start(config, from), from);
}

// Trains to the end or until the run is asked to stop. True: to the end.
bool train(const RunConfig& config, const Session& session, Trainer& trainer, const Beginning& from,
           const StopCondition& stop, const ProfileRequest& profiled) {
  trainer.resume(accept_stored(config), from.resume);
  init_trainer(config, session, trainer, from.init_from);
  if (session.coordinator() && !config.checkpoint.mirror.empty())
    claim_mirror(config.checkpoint.mirror, config.run.directory);
  // After resume(): a configuration that is refused must not replace the one of the run.
  if (session.coordinator()) {
    publish_text(config.run.directory + "/config.yaml", to_yaml(config));
    publish_text(config.run.directory + "/machine.json", machine_record(session.ranks()));
  }
  const int64_t first_step = trainer.step();
  Stopwatch clock;
  const bool done = trainer.train(stop, profiled);
  const BestStep& best = trainer.progress().best;
  if (session.coordinator())
    std::cout << train_summary({.run = config.run.directory,
                                .first_step = first_step,
                                .step = trainer.step(),
                                .total_steps = config.train.steps,
                                .done = done,
                                .seconds = clock.elapsed_ms() / 1000,
                                .best_step = best.step,
                                .best_recall_at_10 = best.recall_at_10})
              << std::flush;
  return done;
}

struct TrainArguments {
  std::string resume = "auto";
  std::string init_from;
  int64_t least_ranks = 1;
  int64_t profiled_steps = 0;
  bool dry_run = false;
};

void add_train_arguments(CommandLine& cli, TrainArguments* options) {
  cli.accept_config();
  cli.add_option("resume", "never|auto|DIR", &options->resume,
                 "auto: continue from the newest checkpoint; never: start at step 0; DIR: start "
                 "from this one");
  cli.add_option("init-from", "RUN|DIR", &options->init_from,
                 "begin with the weights and item rows of this run's newest checkpoint, or of this "
                 "checkpoint, on any dataset; not used once the run has a checkpoint of its own");
  cli.add_option(
      "least-ranks", "N", &options->least_ranks,
      "end with 75, which asks for another start, where fewer ranks are there; the batch "
      "and its samples are the same for any number of ranks");
  cli.add_option("profile", "STEPS", &options->profiled_steps,
                 "write a trace of so many steps, after the first three, to "
                 "run.directory/profile/rank-N.json; Perfetto opens it");
  cli.add_flag("dry-run", &options->dry_run,
               "build everything, take one step, report it and stop; writes no run directory");
}

void check(const TrainArguments& options) {
  if (!options.init_from.empty() && options.resume != "auto" && options.resume != "never")
    throw UsageError("--init-from and --resume DIR both name what to begin with: give one of them");
  require_at_least("least-ranks", options.least_ranks, 1);
  require_at_least("profile", options.profiled_steps, 0);
}

// All of the command that follows its checks. Returns the exit code.
int train_in(const Session& session, const CommandLine& cli, const TrainArguments& options,
             const RunConfig& config, const Dataset& dataset, const StopCondition& stop) {
  std::optional<RunLock> lock;
  std::string from;
  if (session.coordinator() && !options.dry_run) {
    lock.emplace(config.run.directory, longest_lock_wait_seconds(config.comm));
    check_mirror(config);
    from = checked_resume(options.resume, config);
  }
  TrainingData data = training_data(dataset, config);
  const int64_t training_users = std::ssize(data.users);
  Trainer trainer(std::move(data), config, config.comm, session.ranks(), to_yaml(config));
  require_same_training(config, dataset, trainer, *session.ranks().control);
  const std::optional<SplitSummary> split = print_split(config, dataset, session);
  if (options.dry_run) {
    init_trainer(config, session, trainer, options.init_from);
    const int64_t held_out = std::ssize(evaluation_users(dataset, config.split));
    return try_one_step(cli, session, trainer, {training_users, held_out}, split);
  }
  const ProfileRequest profiled{options.profiled_steps,
                                config.run.directory + "/profile/rank-" +
                                    std::to_string(session.ranks().control->rank()) + ".json"};
  const bool done = train(config, session, trainer, {from, options.init_from}, stop, profiled);
  if (session.coordinator())
    write_json_file(cli.json_file(),
                    {{"run", config.run.directory}, {"step", trainer.step()}, {"done", done}});
  return done ? kDone : kRequeue;
}

}  // namespace

int command_train(const Arguments& arguments) {
  CommandLine cli(
      "train", "Trains a model, and goes on from the newest checkpoint of its run directory.",
      "mpirun -n 4 pinnerformer train --config configs/quickstart.yaml train.steps=200");
  TrainArguments options;
  add_train_arguments(cli, &options);
  if (!cli.parse(arguments)) return kDone;
  check(options);
  RunConfig config = cli.config();
  check_trainable(config);
  check_path_length(config.run.directory);
  check_no_dataset(config.run.directory);
  check_no_checkpoint(config.run.directory);
  check_prometheus_file(config.metrics.prometheus_file);
  const StopSignals signals;
  // Before MPI starts: it may call squeue, and MPI does not support fork.
  const auto deadline =
      speaks_for_all_ranks() ? job_deadline(config.train.stop_after) : std::nullopt;
  const Dataset dataset = Dataset::open(config.data.path);
  require_memory(config, {dataset.items(), launcher_world_size().value_or(1)});

  keep_freed_memory();
  const Session session(config.comm);
  require_ranks(session.ranks(), options.least_ranks);
  settle_precision(config, session);
  return naming_gpu_memory(gpu_need_of(config, dataset, session), session.ranks().device, [&] {
    return train_in(session, cli, options, config, dataset, {StopSignals::received, deadline});
  });
}

}  // namespace pinnerformer
