// The communication libraries a program was built with and the ones it found when it started.
#pragma once
#include <string>
#include <vector>

namespace pinnerformer {

struct LibraryVersion {
  std::string library;
  std::string built_with;
  std::string found;
  bool fits = true;  // found may stand in for built_with
};

// MPI and, where this program was built for GPUs, NCCL. Works before MPI is up.
[[nodiscard]] std::vector<LibraryVersion> communication_libraries();

}  // namespace pinnerformer
