// The job scripts of launch/slurm/, filled in.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace pinnerformer {

struct SlurmJob {
  int64_t nodes = 2;
  int64_t ranks_per_node = 1;
  int64_t least_nodes = 0;  // that a start may have after nodes were lost; 0: all of them
  std::string time = "24:00:00";  // of one start, as sbatch writes it
  std::string launcher = "srun";  // srun | mpirun
  std::string program;            // path of pinnerformer, seen from the nodes
  std::string run_directory;
  std::vector<std::string> words;   // behind `pinnerformer train`
  std::vector<std::string> sbatch;  // further options without dashes: "partition=gpu"
};

// A script that sbatch takes as it is.
[[nodiscard]] std::string slurm_script(const SlurmJob& job);

// The word as bash reads it back, in quotes where it needs them.
[[nodiscard]] std::string shell_quoted(const std::string& word);

}  // namespace pinnerformer
