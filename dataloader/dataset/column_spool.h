// A column of unknown length on its way into a contiguous dataset: collected in memory, then in a
// temporary file, and copied to its place once the length is known.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/base/file.h"

namespace pinnerformer {

class ColumnSpool {
 public:
  // `path` names the temporary file, made only where the column outgrows its buffer.
  explicit ColumnSpool(std::string path) : path_(std::move(path)) {}
  ColumnSpool(ColumnSpool&&) = default;
  ~ColumnSpool();

  void append(const void* values, int64_t bytes);
  [[nodiscard]] int64_t bytes() const { return spilled_ + static_cast<int64_t>(buffer_.size()); }
  // Writes the whole column to `file` from `offset` on.
  void copy_to(File& file, int64_t offset) const;

 private:
  std::string path_;
  std::vector<char> buffer_;
  std::optional<File> file_;
  int64_t spilled_ = 0;  // bytes in the temporary file
};

}  // namespace pinnerformer
