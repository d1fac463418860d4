#include "dataloader/hdf5/h5_version.h"

#include "dataloader/hdf5/h5_handle.h"

namespace pinnerformer {

Hdf5Version hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  const auto dotted = [](unsigned a, unsigned b, unsigned c) {
    return std::to_string(a) + "." + std::to_string(b) + "." + std::to_string(c);
  };
  return {dotted(H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE), dotted(major, minor, release),
          major == H5_VERS_MAJOR && minor == H5_VERS_MINOR};
}

}  // namespace pinnerformer
