// Files of unknown origin whose length says nothing.
#pragma once
#include "dataloader/base/file.h"

namespace pinnerformer {

// Throws DataError where a file is far longer than what is stored of it (a sparse file): a few
// kilobytes could claim terabytes of memory.
void require_written(const File& file);

}  // namespace pinnerformer
