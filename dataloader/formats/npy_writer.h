// Writes NumPy's .npy files, numbers of one type, row after row. dataloader/import/npy_file.h reads
// them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/base/durable_file.h"
#include "dataloader/base/published_file.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

class NpyWriter {
 public:
  // An array of this shape and of float16, float32 or int64. The file appears with publish().
  // Throws IoError, as all functions here.
  NpyWriter(const std::string& path, ElementType type, const std::vector<int64_t>& shape);
  // The next numbers, row after row.
  void append(const void* numbers, int64_t bytes);
  // Size and hash of the file; all rows have been appended.
  [[nodiscard]] FileDigest digest() const;
  void publish();

 private:
  PublishedFile file_;
  StreamHash hash_;
  int64_t bytes_ = 0;
  int64_t expected_bytes_ = 0;
};

}  // namespace pinnerformer
