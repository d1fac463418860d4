// Writes ids and vectors to a Parquet file: columns `id` and `vector`, a list of fixed size.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataloader/base/id_column.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

using FileMetadata = std::vector<std::pair<std::string, std::string>>;  // names and values

struct VectorColumns {
  int64_t width = 0;                         // numbers of a vector
  ElementType type = ElementType::kFloat32;  // or kFloat16
  bool integer_ids = true;                   // int64, else strings
};

// Memory: one row group of kParquetGroupRows rows.
constexpr int64_t kParquetGroupRows = 65536;

class ParquetVectorWriter {
 public:
  // The file appears with publish(). Every failure is an IoError.
  ParquetVectorWriter(const std::string& path, const VectorColumns& columns,
                      const FileMetadata& metadata);
  ~ParquetVectorWriter();
  // The next rows. vectors: numbers of the type of the columns, [ids.size(), width].
  void append(const IdColumn& ids, const void* vectors);
  void publish();

 private:
  struct Output;
  VectorColumns columns_;
  std::unique_ptr<Output> output_;
};

}  // namespace pinnerformer
