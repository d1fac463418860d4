// Opening, and the choice of the leaf columns of fields.
#include "dataloader/import/parquet_file.h"

#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <numeric>

#include "dataloader/base/errors.h"
#include "dataloader/import/arrow.h"

namespace pinnerformer {
namespace {

constexpr int64_t kBatchRows = 16384;

void add_leaves(const parquet::arrow::SchemaField& field, std::vector<int>& leaves) {
  if (field.is_leaf()) leaves.push_back(field.column_index);
  for (const auto& child : field.children) add_leaves(child, leaves);
}

}  // namespace

ParquetFile::ParquetFile(const std::string& path, const std::string& name) : name_(name) {
  file_ = arrow_value(arrow::io::ReadableFile::Open(path, limited_pool()), name);
  // Pages are read as they are needed: a row group of a file may be larger than memory.
  parquet::ReaderProperties properties(limited_pool());
  properties.enable_buffered_stream();
  parquet::ArrowReaderProperties arrow_properties;
  arrow_properties.set_pre_buffer(false);
  arrow_properties.set_batch_size(kBatchRows);
  // Nanoseconds, which are the default, wrap outside of 1677 to 2262.
  arrow_properties.set_coerce_int96_timestamp_unit(arrow::TimeUnit::MICRO);
  parquet::arrow::FileReaderBuilder builder;
  const arrow::Status status = builder.Open(file_, properties);
  if (!status.ok()) {
    throw DataError("cannot read " + name + ": expected a Parquet file: " + status.message());
  }
  builder.memory_pool(limited_pool());
  check_arrow(builder.properties(arrow_properties)->Build(&reader_), name);
  check_arrow(reader_->GetSchema(&schema_), name);
}

int64_t ParquetFile::rows() const { return reader_->parquet_reader()->metadata()->num_rows(); }

size_t ParquetFile::field_named(const std::string& name) const {
  const std::vector<int> found = schema_->GetAllFieldIndices(name);
  if (found.size() == 1) return static_cast<size_t>(found[0]);
  if (found.empty()) {
    throw DataError(name_ + ": there is no column '" + name +
                    "'; found: " + joined(schema_->field_names()) +
                    "; --vector-columns id=NAME,vector=NAME names other ones");
  }
  throw DataError(name_ + " has " + std::to_string(found.size()) + " columns '" + name +
                  "': rename all but one");
}

std::unique_ptr<arrow::RecordBatchReader> ParquetFile::read(
    const std::vector<size_t>& fields) const {
  std::vector<int> leaves;
  for (const size_t field : fields) {
    add_leaves(reader_->manifest().schema_fields[field], leaves);
  }
  std::vector<int> groups(static_cast<size_t>(reader_->num_row_groups()));
  std::iota(groups.begin(), groups.end(), 0);
  return arrow_value(reader_->GetRecordBatchReader(groups, leaves), name_);
}

}  // namespace pinnerformer
