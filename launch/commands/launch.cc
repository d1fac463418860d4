// pinnerformer launch slurm: a job script made from a configuration, printed or submitted.
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/commands/registry.h"
#include "launch/slurm/slurm_script.h"

namespace pinnerformer {
namespace {

void submit(const std::string& script) {
  std::cout << std::flush;
  std::signal(SIGPIPE, SIG_IGN);  // where sbatch ends before it has read the script
  FILE* sbatch = ::popen("sbatch", "w");
  const bool written =
      sbatch != nullptr && std::fwrite(script.data(), 1, script.size(), sbatch) == script.size();
  if (sbatch == nullptr || ::pclose(sbatch) != 0 || !written)
    throw IoError("sbatch did not take the job; its message is above. --dry-run prints the script");
}

// Files and directories of which every run needs its own, outside run.directory.
bool writes_elsewhere(const RunConfig& config) {
  return !config.checkpoint.mirror.empty() || !config.metrics.prometheus_file.empty();
}

// Of a directory that the job makes itself.
std::filesystem::path existing_parent(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return parent == path.root_path() ? path : parent;
}

// Absolute paths that a container has to see beside the working directory.
std::vector<std::string> paths_outside(const RunConfig& config, const std::string& file) {
  std::vector<std::string> paths;
  for (const std::filesystem::path& path :
       {std::filesystem::path(config.data.path), std::filesystem::path(config.run.directory),
        existing_parent(config.checkpoint.mirror),
        std::filesystem::path(config.metrics.prometheus_file).parent_path(),
        std::filesystem::path(file).parent_path()})
    if (path.is_absolute()) paths.push_back(path.lexically_normal());
  return paths;
}

struct LaunchWords {
  std::string where;
  int64_t least_ranks = 0;
  bool dry_run = false;
};

void declare(CommandLine& cli, SlurmJob& job, LaunchWords& words) {
  cli.accept_config();
  cli.add_word("slurm", &words.where, "the batch system");
  cli.add_option("nodes", "N", &job.nodes, "nodes of the job");
  cli.add_option("ranks-per-node", "R", &job.ranks_per_node, "ranks on each of them");
  cli.add_option("use", "N", &job.use,
                 "nodes that train; the others are spares for a node that fails");
  cli.add_option("cpus-per-rank", "N", &job.cpus_per_rank, "CPUs, and threads, of a rank");
  cli.add_option("gpus-per-node", "N", &job.gpus_per_node, "GPUs of each node");
  cli.add_option("bind", "core|numa|none", &job.bind,
                 "where a rank may run: core: on the cores of its task; numa: on their NUMA node; "
                 "none: anywhere");
  cli.add_option("least-ranks", "N", &words.least_ranks,
                 "ranks that a start must have: after a lost node the training goes on with fewer "
                 "nodes; 0: all of them");
  cli.add_option("time", "TIME", &job.time, "time limit of one start, as sbatch writes it");
  cli.add_option("launcher", "srun|mpirun", &job.launcher, "what starts the ranks");
  cli.add_option("seeds", "LIST", &job.seeds,
                 "a job array, one run per seed in run.directory/seed-N: 1-5 or 1,4");
  cli.add_option("after", "JOB", &job.after, "start when that job, e.g. an import, has succeeded");
  cli.add_option("container", "IMAGE", &job.image,
                 "a .sif file of Apptainer, or an image of pyxis, that holds the program");
  cli.add_option("sbatch", "OPTION", &job.sbatch, "further options of sbatch, e.g. partition=gpu");
  cli.add_flag("dry-run", &words.dry_run, "print the script instead of submitting it");
}

void check(const SlurmJob& job, const LaunchWords& words) {
  require_known("batch system", words.where, std::array<std::string, 1>{"slurm"});
  require_known("launcher", job.launcher, std::array<std::string, 2>{"srun", "mpirun"});
  require_known("binding", job.bind, std::array<std::string, 3>{"core", "numa", "none"});
  check(job);
  if (words.least_ranks < 0 || words.least_ranks > job.nodes * job.ranks_per_node)
    throw UsageError("--least-ranks is from 1 to the number of ranks, or 0");
  if (words.least_ranks > 0 && job.use > 0)
    throw UsageError("--least-ranks and --use are two ways to replace a lost node: give one");
}

void check(const SlurmJob& job, const RunConfig& config) {
  check_trainable(config);
  if (!job.seeds.empty() && writes_elsewhere(config))
    throw UsageError(
        "--seeds starts several runs, and each needs a checkpoint.mirror and a "
        "metrics.prometheus_file of its own: leave these keys out, or submit a job "
        "per seed");
}

}  // namespace

int command_launch(const Arguments& arguments) {
  SlurmJob job;
  LaunchWords words;
  CommandLine cli("launch",
                  "Submits a training to Slurm: a job that saves before its time limit and starts "
                  "itself again until the training is done.",
                  "pinnerformer launch slurm --nodes 2 --ranks-per-node 8 --sbatch gpus-per-node=8 "
                  "--config configs/two_nodes.yaml --dry-run");
  declare(cli, job, words);
  if (!cli.parse(arguments)) return kDone;
  check(job, words);
  const RunConfig config = cli.config();
  check(job, config);

  job.least_nodes = (words.least_ranks + job.ranks_per_node - 1) / job.ranks_per_node;
  job.program = std::filesystem::read_symlink("/proc/self/exe");
  job.run_directory = config.run.directory;
  if (!cli.config_file().empty()) job.words = {"--config", cli.config_file()};
  job.seen = paths_outside(config, cli.config_file());
  if (words.least_ranks > 0)
    job.words.insert(job.words.end(), {"--least-ranks", std::to_string(words.least_ranks)});
  job.words.insert(job.words.end(), cli.overrides().begin(), cli.overrides().end());
  const std::string script = slurm_script(job);
  if (words.dry_run) {
    std::cout << script;
  } else {
    submit(script);
  }
  write_json_file(cli.json_file(), {{"script", script}, {"submitted", !words.dry_run}});
  return kDone;
}

}  // namespace pinnerformer
