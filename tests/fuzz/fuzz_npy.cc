// Any bytes as a .npy file.
#include <cstdint>

#include "dataloader/base/errors.h"
#include "dataloader/import/npy_file.h"
#include "tests/fuzz/scratch_file.h"

using namespace pinnerformer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string path = scratch_file("vectors.npy");
  write_scratch(path, data, size);
  try {
    const NpyFile file(path);
    if (file.shape().size() == 1) static_cast<void>(file.read_integers());
    if (file.shape().size() == 2 && file.shape()[0] > 0) {
      std::vector<float> row(static_cast<size_t>(file.shape()[1]));
      file.read_rows(file.shape()[0] - 1, 1, row.data());
    }
  } catch (const DataError&) {
  }
  return 0;
}
