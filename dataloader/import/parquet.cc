// Parquet files, one record batch at a time.
#include <algorithm>
#include <numeric>
#include <optional>

#include "dataloader/base/errors.h"
#include "dataloader/import/arrow.h"
#include "dataloader/import/cells.h"
#include "dataloader/import/parquet_file.h"

namespace pinnerformer {
namespace {

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
    case arrow::Type::FIXED_SIZE_LIST:
      return take_elements<arrow::FixedSizeListArray>(column, path);
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
          .exact_below = column.exact_below,
          .null = repeated(column.null, times),
          .owner = column.owner};
}

// The columns of one record batch with its lists unfolded.
class Unfolded {
 public:
  // `names` are those of the batch's columns; `first_row` is for messages.
  Unfolded(std::shared_ptr<arrow::RecordBatch> batch, const std::vector<std::string>& names,
           const std::string& path, int64_t first_row)
      : batch_(std::move(batch)) {
    for (size_t i = 0; i < names.size(); ++i) {
      elements_.push_back(elements_of(*batch_->column(static_cast<int>(i)), path));
      if (elements_.back()) check_lengths(elements_.back()->lengths, names[i], path, first_row);
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const std::string& name = names[i];
      if (elements_[i]) {
        columns.push_back(convert_column(*elements_[i]->values, name, path));
      } else {
        TableColumn column = convert_column(*batch_->column(static_cast<int>(i)), name, path);
        columns.push_back(lengths_ ? repeated(column, *lengths_) : std::move(column));
      }
    }
    rows = lengths_ ? std::accumulate(lengths_->begin(), lengths_->end(), int64_t{0})
                    : batch_->num_rows();
    empty_rows = lengths_ ? std::ranges::count(*lengths_, 0) : 0;
  }

  std::vector<TableColumn> columns;
  int64_t rows = 0;
  int64_t empty_rows = 0;

 private:
  void check_lengths(const std::vector<int64_t>& lengths, const std::string& name,
                     const std::string& path, int64_t first_row) {
    if (lengths_ && *lengths_ != lengths) {
      const auto differs = std::mismatch(lengths.begin(), lengths.end(), lengths_->begin()).first;
      throw DataError(path + ", column '" + name + "', row " +
                      std::to_string(first_row + (differs - lengths.begin())) +
                      ": expected lists as long as those of the other list columns of a row");
    }
    lengths_ = lengths;
  }

  std::shared_ptr<arrow::RecordBatch> batch_;  // what the texts point into
  std::vector<std::optional<Elements>> elements_;
  std::optional<std::vector<int64_t>> lengths_;
};

class ParquetTable : public FormatReader {
 public:
  explicit ParquetTable(const InputFile& file) : file_(file), parquet_(file.path, file.name) {
    for (const auto& field : parquet_.schema().fields()) {
      fields_.push_back({std::string(trimmed(field->name())), field->type()->ToString()});
    }
  }

  [[nodiscard]] const std::vector<TableField>& fields() const override { return fields_; }

  void select(const std::vector<size_t>& fields) override {
    std::vector<size_t> ordered = fields;  // as the file has them: so do Arrow's batches
    std::sort(ordered.begin(), ordered.end());
    for (const size_t field : ordered) names_.push_back(fields_[field].name);
    for (const size_t field : fields) {
      places_.push_back(static_cast<size_t>(std::ranges::find(ordered, field) - ordered.begin()));
    }
    batches_ = parquet_.read(ordered);
  }

  bool next(TableBatch& batch) override {
    std::shared_ptr<arrow::RecordBatch> read;
    batch.empty_rows = 0;
    check_arrow(batches_->ReadNext(&read), file_.name);
    if (!read) return false;
    const int64_t first = done_ + 1;
    done_ += read->num_rows();
    const auto unfolded = std::make_shared<Unfolded>(std::move(read), names_, file_.name, first);
    batch.first_row = next_row_;
    batch.rows = unfolded->rows;
    batch.empty_rows = unfolded->empty_rows;
    batch.columns.clear();
    for (const size_t place : places_) {
      batch.columns.push_back(std::move(unfolded->columns[place]));
    }
    unfolded->columns.clear();
    batch.owner = unfolded;
    next_row_ += batch.rows;
    return true;
  }

  [[nodiscard]] double fraction() const override {
    const int64_t rows = parquet_.rows();
    return rows == 0 ? 1.0 : static_cast<double>(done_) / static_cast<double>(rows);
  }

 private:
  InputFile file_;
  ParquetFile parquet_;
  std::vector<TableField> fields_;
  std::vector<std::string> names_;  // of the selected fields, in the order of the file
  std::vector<size_t> places_;      // of the selected fields among these, as they were asked for
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  int64_t done_ = 0;      // rows of the file
  int64_t next_row_ = 1;  // unfolded
};

}  // namespace

std::unique_ptr<FormatReader> open_parquet_table(const InputFile& file) {
  return std::make_unique<ParquetTable>(file);
}

}  // namespace pinnerformer
