// An open Parquet file, read in record batches. For dataloader/import only.
#pragma once
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>

#include <memory>
#include <string>
#include <vector>

namespace pinnerformer {

class ParquetFile {
 public:
  // `name` is for messages. Throws DataError where it is no Parquet file, or IoError.
  ParquetFile(const std::string& path, const std::string& name);
  [[nodiscard]] const arrow::Schema& schema() const { return *schema_; }
  [[nodiscard]] int64_t rows() const;
  // Throws DataError unless exactly one field has this name.
  [[nodiscard]] size_t field_named(const std::string& name) const;
  // Batches of these fields, which ascend. The file must outlive them.
  [[nodiscard]] std::unique_ptr<arrow::RecordBatchReader> read(
      const std::vector<size_t>& fields) const;

 private:
  std::string name_;
  std::shared_ptr<arrow::io::ReadableFile> file_;
  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::shared_ptr<arrow::Schema> schema_;
};

}  // namespace pinnerformer
