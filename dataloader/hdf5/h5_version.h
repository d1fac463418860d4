// The HDF5 library this program was built with and the one it found when it started.
#pragma once
#include <string>

namespace pinnerformer {

struct Hdf5Version {
  std::string built_with;
  std::string found;
  bool fits = true;
};

[[nodiscard]] Hdf5Version hdf5_version();

}  // namespace pinnerformer
