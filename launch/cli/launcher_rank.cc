// The variables of the launchers in use, the most specific first: under `salloc` or in a batch
// script mpirun's ranks all inherit one SLURM_PROCID.
#include "launch/cli/launcher_rank.h"

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <iostream>

#include "configs/typed_value.h"

namespace pinnerformer {
namespace {

std::optional<int> first_number(std::initializer_list<const char*> variables) {
  for (const char* variable : variables) {
    const char* text = std::getenv(variable);
    int64_t number = 0;
    if (text != nullptr && assign_text(&number, text)) return static_cast<int>(number);
  }
  return std::nullopt;
}

}  // namespace

std::optional<int> launcher_rank() {
  return first_number({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"});
}

// SLURM_STEP_NUM_TASKS is srun's; the batch shell of a job, which is no step, does not have it.
std::optional<int> launcher_world_size() {
  return first_number({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"});
}

bool speaks_for_all_ranks() { return launcher_rank().value_or(0) == 0; }

void print_once(const std::string& text) {
  if (speaks_for_all_ranks()) std::cout << text << std::flush;
}

}  // namespace pinnerformer
