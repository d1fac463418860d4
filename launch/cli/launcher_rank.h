// Which rank this process is before MPI is up: what the launcher wrote into the environment.
// For messages only; everything else asks the communicator.
#pragma once
#include <optional>
#include <string>

namespace pinnerformer {

// Nothing where the program was started without a launcher.
[[nodiscard]] std::optional<int> launcher_rank();
// Processes the launcher started; nothing where it does not say.
[[nodiscard]] std::optional<int> launcher_world_size();
// True for rank 0 and without a launcher: the process that speaks for all.
[[nodiscard]] bool speaks_for_all_ranks();
// Writes to standard output, once for all ranks: help, versions, printed configurations.
void print_once(const std::string& text);

}  // namespace pinnerformer
