// NumPy's .npy files: numbers of one type, row after row.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/base/file.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

class NpyFile {
 public:
  // Throws DataError unless it is a little-endian, C-ordered array of float16, float32, float64,
  // int32 or int64 whose size fits the file.
  explicit NpyFile(const std::string& path);
  [[nodiscard]] const std::vector<int64_t>& shape() const { return shape_; }
  [[nodiscard]] ElementType type() const { return type_; }
  // Rows [first, first + count) of a two-dimensional array. Throws DataError for an integer that
  // float32 does not hold.
  void read_rows(int64_t first, int64_t count, float* out) const;
  [[nodiscard]] std::vector<int64_t> read_integers() const;  // of a one-dimensional array

 private:
  void parse_header(const std::string& header);
  File file_;
  std::vector<int64_t> shape_;
  ElementType type_ = ElementType::kOther;
  int64_t data_ = 0;  // bytes before the first number
};

}  // namespace pinnerformer
