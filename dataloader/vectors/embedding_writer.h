// What writes vectors of users and items, whatever the format of the file.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "dataloader/base/id_column.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

// A set that is about to be written.
struct EmbeddingFileShape {
  std::string group;  // "/user" or "/item"
  int64_t rows = 0;
  int64_t width = 0;  // D
  bool integer_ids = true;
  // Gives the ids of the next `count` rows; called until all rows have one.
  std::function<IdColumn(int64_t count)> next_ids;
  ElementType type = ElementType::kFloat32;  // of the stored numbers; or kFloat16
};

class EmbeddingWriter {
 public:
  virtual ~EmbeddingWriter() = default;
  // Rows [first, first + n) of a set. vectors: float32 [n, D] on the CPU. Throws DataError for a
  // number that is not finite, or is not in the type of the file.
  virtual void write(const std::string& group, int64_t first, const torch::Tensor& vectors) = 0;
  // Brings the file to the disk and gives it its name. Nothing can be written afterwards.
  virtual void publish() = 0;
};

// The vectors as a file of this type stores them, contiguous. Throws DataError as write() does;
// `first` is the row of the first one in the set `group`.
[[nodiscard]] torch::Tensor stored_numbers(const torch::Tensor& vectors, ElementType type,
                                           const std::string& group, int64_t first);

}  // namespace pinnerformer
