// The communication libraries that this program was built with, and those it has loaded.
#pragma once
#include <string>
#include <vector>

namespace pinnerformer {

struct LibraryVersion {
  std::string library;
  std::string built_with;
  std::string found;
  bool fits = true;  // `found` is compatible with `built_with`
};

// MPI and, where this program was built for GPUs, NCCL. Works before MPI is initialised.
[[nodiscard]] std::vector<LibraryVersion> communication_libraries();

}  // namespace pinnerformer
