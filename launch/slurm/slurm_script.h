// The job scripts of launch/slurm/, filled in.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace pinnerformer {

struct SlurmJob {
  int64_t nodes = 2;
  int64_t use = 0;  // nodes that train, the others are spare; 0: all
  int64_t ranks_per_node = 1;
  int64_t least_nodes = 0;          // that a start may have after nodes were lost; 0: all of them
  int64_t cpus_per_rank = 0;        // 0: as Slurm decides
  int64_t gpus_per_node = 0;        // 0: none is asked for
  std::string bind = "core";        // what a rank keeps to: core | numa | none
  std::string seeds;                // "1-5" or "1,4": a job array, one run for each; "": one job
  std::string after;                // number of a job that must have succeeded before
  std::string image;                // container that holds the program
  std::vector<std::string> seen;    // absolute paths of the host that the container sees
  std::string time = "24:00:00";    // of one start, as sbatch writes it
  std::string launcher = "srun";    // srun | mpirun
  std::string program;              // path of pinnerformer, seen from the nodes
  std::string run_directory;        // with seeds, that of a seed is seed-N in it
  std::vector<std::string> words;   // behind `pinnerformer train`
  std::vector<std::string> sbatch;  // further options without dashes: "partition=gpu"
};

// Throws UsageError where sbatch would not take the numbers, or two options exclude each other.
void check(const SlurmJob& job);

// A script that sbatch takes as it is.
[[nodiscard]] std::string slurm_script(const SlurmJob& job);

// The word as bash reads it back, in quotes where it needs them.
[[nodiscard]] std::string shell_quoted(const std::string& word);

}  // namespace pinnerformer
