// A file of embeddings (docs/data_format.md, "Vector files"): what `embed` writes.
#pragma once
#include <torch/types.h>

#include <string>

#include "dataloader/id_column.h"

namespace pinnerformer {

// Rows of ids and of vectors belong together.
struct VectorSet {
  IdColumn ids;
  torch::Tensor vectors;  // float32 [n, D]
};

struct VectorFile {
  VectorSet users;
  VectorSet items;
  // Vectors of users and items may be compared only where the versions are equal: it names the
  // weights of both towers and the content vectors.
  std::string version;
};

// Writes /user/{id,vector} and /item/{id,vector}, vectors as float32, beside `path`, and renames:
// a reader sees the old file or the whole new one. Throws IoError.
void write_vector_file(const std::string& path, const VectorFile& content);

}  // namespace pinnerformer
