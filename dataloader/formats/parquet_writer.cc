// Vectors are stored plainly: dictionaries and statistics of them cost time and help nobody.
#include "dataloader/formats/parquet_writer.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include "dataloader/base/published_file.h"
#include "dataloader/import/arrow.h"

namespace pinnerformer {
namespace {

constexpr const char* kVerb = "write";  // in messages

std::shared_ptr<arrow::Schema> schema_of(const VectorColumns& columns,
                                         const FileMetadata& metadata) {
  const auto number = columns.type == ElementType::kFloat16 ? arrow::float16() : arrow::float32();
  const auto vector = arrow::fixed_size_list(arrow::field("element", number, /*nullable=*/false),
                                             static_cast<int32_t>(columns.width));
  std::vector<std::string> names, values;
  for (const auto& [name, value] : metadata) {
    names.push_back(name);
    values.push_back(value);
  }
  return arrow::schema(
      {arrow::field("id", columns.integer_ids ? arrow::int64() : arrow::utf8(), false),
       arrow::field("vector", vector, /*nullable=*/false)},
      arrow::key_value_metadata(std::move(names), std::move(values)));
}

std::shared_ptr<parquet::WriterProperties> writer_properties() {
  const std::string vector = "vector.list.element";
  return parquet::WriterProperties::Builder()
      .max_row_group_length(kParquetGroupRows)
      ->disable_dictionary(vector)
      ->disable_statistics(vector)
      ->build();
}

std::shared_ptr<arrow::Array> id_array(const IdColumn& ids, const std::string& path) {
  if (ids.integers()) {
    arrow::Int64Builder builder;
    check_arrow(builder.AppendValues(ids.numbers()), path, kVerb);
    return arrow_value(builder.Finish(), path, kVerb);
  }
  arrow::StringBuilder builder;
  for (int64_t i = 0; i < ids.size(); ++i) check_arrow(builder.Append(ids.view(i)), path, kVerb);
  return arrow_value(builder.Finish(), path, kVerb);
}

}  // namespace

struct ParquetVectorWriter::Output {
  explicit Output(const std::string& path) : file(path) {}
  PublishedFile file;
  std::shared_ptr<arrow::Schema> schema;
  std::shared_ptr<arrow::io::FileOutputStream> stream;
  std::unique_ptr<parquet::arrow::FileWriter> writer;
};

ParquetVectorWriter::ParquetVectorWriter(const std::string& path, const VectorColumns& columns,
                                         const FileMetadata& metadata)
    : columns_(columns), output_(std::make_unique<Output>(path)) {
  Output& out = *output_;
  out.schema = schema_of(columns, metadata);
  out.stream = arrow_value(arrow::io::FileOutputStream::Open(out.file.path()), path, kVerb);
  // With Arrow's schema, a reader gets lists of fixed size and these metadata.
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  out.writer = arrow_value(
      parquet::arrow::FileWriter::Open(*out.schema, arrow::default_memory_pool(), out.stream,
                                       writer_properties(), arrow_properties),
      path, kVerb);
}

// An abandoned file is not completed: only PublishedFile removes it.
ParquetVectorWriter::~ParquetVectorWriter() = default;

void ParquetVectorWriter::append(const IdColumn& ids, const void* vectors) {
  const std::string& path = output_->file.path();
  const int64_t numbers = ids.size() * columns_.width;
  const auto buffer = std::make_shared<arrow::Buffer>(static_cast<const uint8_t*>(vectors),
                                                      numbers * size_of(columns_.type));
  const auto list =
      std::static_pointer_cast<arrow::FixedSizeListType>(output_->schema->field(1)->type());
  const auto values =
      arrow::MakeArray(arrow::ArrayData::Make(list->value_type(), numbers, {nullptr, buffer}, 0));
  const auto column = std::make_shared<arrow::FixedSizeListArray>(list, ids.size(), values);
  const auto batch =
      arrow::RecordBatch::Make(output_->schema, ids.size(), {id_array(ids, path), column});
  check_arrow(output_->writer->WriteRecordBatch(*batch), path, kVerb);
}

void ParquetVectorWriter::publish() {
  const std::string& path = output_->file.path();
  check_arrow(output_->writer->Close(), path, kVerb);
  check_arrow(output_->stream->Close(), path, kVerb);
  output_->file.publish();
}

}  // namespace pinnerformer
