// The variables of the launchers in use, the most specific first: under `salloc` or in a batch
// script mpirun's ranks all inherit one SLURM_PROCID.
#include "launch/launcher_rank.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "configs/typed_value.h"

namespace pinnerformer {

std::optional<int> launcher_rank() {
  constexpr std::array<const char*, 4> variables = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                                    "SLURM_PROCID"};
  for (const char* variable : variables) {
    const char* text = std::getenv(variable);
    int64_t rank = 0;
    if (text != nullptr && assign_text(&rank, text)) return static_cast<int>(rank);
  }
  return std::nullopt;
}

bool speaks_for_all_ranks() { return launcher_rank().value_or(0) == 0; }

void print_once(const std::string& text) {
  if (speaks_for_all_ranks()) std::cout << text << std::flush;
}

}  // namespace pinnerformer
