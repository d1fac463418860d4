// Checks every promise of the dataset format, for `data validate`: reads the whole dataset.
#pragma once
#include <cstdint>
#include <string>

namespace pinnerformer {

struct ValidatedDataset {
  int64_t users = 0;
  int64_t events = 0;
  int64_t items = 0;
  int64_t bytes = 0;  // numbers that have been compared with their checksums
  std::string fingerprint;
};

// Throws DataError naming file, dataset and row (or rows) at the first broken promise, and
// MissingInputError or IoError as Dataset::open() does.
ValidatedDataset validate_dataset(const std::string& directory);

}  // namespace pinnerformer
