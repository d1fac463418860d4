// Parquet files, one record batch at a time.
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <numeric>
#include <optional>

#include "dataloader/base/errors.h"
#include "dataloader/import/arrow.h"
#include "dataloader/import/parquet_vectors.h"

namespace pinnerformer {
namespace {

// Opens the file and gives the numbers of the wanted leaf columns.
struct OpenedParquet {
  std::shared_ptr<arrow::io::ReadableFile> file;
  std::unique_ptr<parquet::arrow::FileReader> reader;
  std::unique_ptr<arrow::RecordBatchReader> batches;
};

OpenedParquet open_parquet(const std::string& path, const std::vector<std::string>& columns) {
  OpenedParquet opened;
  opened.file = arrow_value(arrow::io::ReadableFile::Open(path), path);
  // Pages are read as they are needed: a row group of a file may be larger than memory.
  parquet::ReaderProperties properties;
  properties.enable_buffered_stream();
  parquet::ArrowReaderProperties arrow_properties;
  arrow_properties.set_pre_buffer(false);
  parquet::arrow::FileReaderBuilder builder;
  const arrow::Status status = builder.Open(opened.file, properties);
  if (!status.ok())
    throw DataError("cannot read " + path + ": expected a Parquet file: " + status.message());
  check_arrow(builder.properties(arrow_properties)->Build(&opened.reader), path);
  std::shared_ptr<arrow::Schema> schema;
  check_arrow(opened.reader->GetSchema(&schema), path);
  require_columns(path, schema->field_names(), columns);
  // A list column has its leaf below it ("vector.list.element"): compare the first path element.
  std::vector<int> leaves;
  const auto* stored = opened.reader->parquet_reader()->metadata()->schema();
  for (int i = 0; i < stored->num_columns(); ++i) {
    const std::string root = stored->Column(i)->path()->ToDotVector().front();
    if (std::find(columns.begin(), columns.end(), root) != columns.end()) leaves.push_back(i);
  }
  std::vector<int> groups(static_cast<size_t>(opened.reader->num_row_groups()));
  for (size_t i = 0; i < groups.size(); ++i) groups[i] = static_cast<int>(i);
  opened.batches = arrow_value(opened.reader->GetRecordBatchReader(groups, leaves), path);
  return opened;
}

// The elements of all lists one after the other, and how many each row has.
struct Elements {
  std::shared_ptr<arrow::Array> values;
  std::vector<int64_t> lengths;
};

template <typename ListType>
Elements take_elements(const arrow::Array& column, const std::string& path) {
  const auto& lists = static_cast<const ListType&>(column);
  Elements elements;
  elements.values = arrow_value(lists.Flatten(), path);
  for (int64_t i = 0; i < lists.length(); ++i) {
    elements.lengths.push_back(lists.IsNull(i) ? 0 : lists.value_length(i));
  }
  return elements;
}

// Nothing where the column does not hold lists.
std::optional<Elements> elements_of(const arrow::Array& column, const std::string& path) {
  switch (column.type_id()) {
    case arrow::Type::LIST:
      return take_elements<arrow::ListArray>(column, path);
    case arrow::Type::LARGE_LIST:
      return take_elements<arrow::LargeListArray>(column, path);
    default:
      return std::nullopt;
  }
}

template <typename Values>
Values repeated(const Values& values, const std::vector<int64_t>& times) {
  Values result;
  for (size_t i = 0; i < values.size(); ++i) {
    result.insert(result.end(), static_cast<size_t>(times[i]), values[i]);
  }
  return result;
}

TableColumn repeated(const TableColumn& column, const std::vector<int64_t>& times) {
  return {.kind = column.kind,
          .texts = repeated(column.texts, times),
          .integers = repeated(column.integers, times),
          .reals = repeated(column.reals, times),
          .null = repeated(column.null, times)};
}

// The columns of one record batch with its lists unfolded.
class Unfolded {
 public:
  Unfolded(std::shared_ptr<arrow::RecordBatch> batch, const std::vector<std::string>& names,
           const std::string& path)
      : batch_(std::move(batch)) {
    for (const std::string& name : names) {
      elements_.push_back(elements_of(*batch_->GetColumnByName(name), path));
      if (elements_.back()) check_lengths(elements_.back()->lengths, name, path);
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const std::string& name = names[i];
      if (elements_[i]) {
        columns.push_back(convert_column(*elements_[i]->values, name, path));
      } else {
        TableColumn column = convert_column(*batch_->GetColumnByName(name), name, path);
        columns.push_back(lengths_ ? repeated(column, *lengths_) : std::move(column));
      }
    }
    rows = lengths_ ? std::accumulate(lengths_->begin(), lengths_->end(), int64_t{0})
                    : batch_->num_rows();
  }

  std::vector<TableColumn> columns;
  int64_t rows = 0;

 private:
  void check_lengths(const std::vector<int64_t>& lengths, const std::string& name,
                     const std::string& path) {
    if (lengths_ && *lengths_ != lengths) {
      throw DataError(path + ", column '" + name +
                      "': expected lists as long as those of the other list columns of a row");
    }
    lengths_ = lengths;
  }

  std::shared_ptr<arrow::RecordBatch> batch_;  // what the texts point into
  std::vector<std::optional<Elements>> elements_;
  std::optional<std::vector<int64_t>> lengths_;
};

class ParquetTable : public TableReader {
 public:
  ParquetTable(std::string path, std::vector<std::string> columns)
      : path_(std::move(path)),
        columns_(std::move(columns)),
        opened_(open_parquet(path_, columns_)) {
    rows_ = opened_.reader->parquet_reader()->metadata()->num_rows();
  }

  bool next(TableBatch& batch) override {
    std::shared_ptr<arrow::RecordBatch> read;
    check_arrow(opened_.batches->ReadNext(&read), path_);
    if (!read) return false;
    done_ += read->num_rows();
    const auto unfolded = std::make_shared<Unfolded>(std::move(read), columns_, path_);
    batch.first_row = next_row_;
    batch.rows = unfolded->rows;
    batch.columns = std::move(unfolded->columns);
    batch.owner = unfolded;
    next_row_ += batch.rows;
    return true;
  }

  [[nodiscard]] double fraction() const override {
    return rows_ == 0 ? 1.0 : static_cast<double>(done_) / static_cast<double>(rows_);
  }

 private:
  std::string path_;
  std::vector<std::string> columns_;
  OpenedParquet opened_;
  int64_t rows_ = 0;
  int64_t done_ = 0;      // rows of the file
  int64_t next_row_ = 1;  // unfolded
};

float number_at(const arrow::Array& values, int64_t index, const std::string& where) {
  switch (values.type_id()) {
    case arrow::Type::FLOAT:
      return static_cast<const arrow::FloatArray&>(values).Value(index);
    case arrow::Type::DOUBLE:
      return static_cast<float>(static_cast<const arrow::DoubleArray&>(values).Value(index));
    case arrow::Type::HALF_FLOAT:
      return half_to_float(static_cast<const arrow::HalfFloatArray&>(values).Value(index));
    default:
      throw DataError(where + ": expected lists of floats, found lists of " +
                      values.type()->ToString());
  }
}

struct ListRow {
  const arrow::Array* values;
  int64_t start;
  int64_t length;
};

ListRow list_row(const arrow::Array& column, int64_t row, const std::string& where) {
  switch (column.type_id()) {
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(column);
      return {list.values().get(), list.value_offset(row), list.value_length(row)};
    }
    case arrow::Type::LARGE_LIST: {
      const auto& list = static_cast<const arrow::LargeListArray&>(column);
      return {list.values().get(), list.value_offset(row), list.value_length(row)};
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& list = static_cast<const arrow::FixedSizeListArray&>(column);
      return {list.values().get(), list.value_offset(row), list.value_length(row)};
    }
    default:
      throw DataError(where + ": expected lists of floats, found " + column.type()->ToString());
  }
}

}  // namespace

std::unique_ptr<TableReader> open_parquet_table(const std::string& path,
                                                const std::vector<std::string>& columns) {
  return std::make_unique<ParquetTable>(path, columns);
}

void read_parquet_vectors(
    const std::string& path, const std::string& column,
    const std::function<bool(int64_t row, const std::vector<float>& values)>& visit) {
  const OpenedParquet opened = open_parquet(path, {column});
  const std::string where = path + ", column '" + column + "'";
  int64_t row = 0;
  std::vector<float> values;
  std::shared_ptr<arrow::RecordBatch> batch;
  while (true) {
    check_arrow(opened.batches->ReadNext(&batch), path);
    if (!batch) return;
    const arrow::Array& lists = *batch->GetColumnByName(column);
    for (int64_t i = 0; i < lists.length(); ++i, ++row) {
      values.clear();
      if (!lists.IsNull(i)) {
        const ListRow list = list_row(lists, i, where);
        for (int64_t j = 0; j < list.length; ++j) {
          values.push_back(number_at(*list.values, list.start + j, where));
        }
      }
      if (!visit(row, values)) return;
    }
  }
}

}  // namespace pinnerformer
