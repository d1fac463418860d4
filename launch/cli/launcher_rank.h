// The rank of this process before MPI starts, from the environment that the launcher set.
// For messages only; all other code asks the communicator.
#pragma once
#include <optional>
#include <string>

namespace pinnerformer {

// Nothing where the program was started without a launcher.
[[nodiscard]] std::optional<int> launcher_rank();
// Number of processes that the launcher started; nothing where it is not set.
[[nodiscard]] std::optional<int> launcher_world_size();
// True for rank 0 and without a launcher: the process that prints for all.
[[nodiscard]] bool speaks_for_all_ranks();
// Writes to standard output, once for all ranks: help, versions, printed configurations.
void print_once(const std::string& text);

}  // namespace pinnerformer
