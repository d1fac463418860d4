#include "dataloader/base/sparse_file.h"

#include <sys/stat.h>

#include <string>

namespace pinnerformer {

void require_written(const File& file) {
  constexpr int64_t kAlwaysAllowed = int64_t{64} << 20;
  constexpr int64_t kMostExpansion = 256;  // file systems that compress reach a tenth of it
  struct stat status {};
  if (::fstat(file.descriptor(), &status) != 0) return;
  const int64_t stored = status.st_blocks * 512;
  // Some network file systems do not tell the blocks.
  if (stored == 0 || status.st_size <= kAlwaysAllowed || status.st_size / kMostExpansion <= stored)
    return;
  throw DataError(file.path() + " claims " + std::to_string(status.st_size) + " bytes, but only " +
                  std::to_string(stored) + " are stored: expected a file without holes");
}

}  // namespace pinnerformer
