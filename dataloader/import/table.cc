// Choosing the reader, finding columns, converting Arrow's arrays.
#include "dataloader/import/table.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <numeric>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/import/arrow.h"

namespace pinnerformer {
namespace {

size_t distance_between(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[to.size()];
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

template <typename ArrayType>
void take_texts(const arrow::Array& array, TableColumn& column) {
  const auto& typed = static_cast<const ArrayType&>(array);
  column.kind = TableColumn::Kind::kText;
  column.texts.reserve(static_cast<size_t>(typed.length()));
  for (int64_t i = 0; i < typed.length(); ++i) {
    column.texts.push_back(typed.IsNull(i) ? std::string_view() : typed.GetView(i));
  }
}

template <typename ArrayType>
void take_integers(const arrow::Array& array, TableColumn& column) {
  const auto& typed = static_cast<const ArrayType&>(array);
  column.kind = TableColumn::Kind::kInteger;
  column.integers.reserve(static_cast<size_t>(typed.length()));
  for (int64_t i = 0; i < typed.length(); ++i) {
    column.integers.push_back(static_cast<int64_t>(typed.Value(i)));
  }
}

template <typename ArrayType>
void take_reals(const arrow::Array& array, TableColumn& column) {
  const auto& typed = static_cast<const ArrayType&>(array);
  column.kind = TableColumn::Kind::kReal;
  for (int64_t i = 0; i < typed.length(); ++i) {
    column.reals.push_back(static_cast<double>(typed.Value(i)));
  }
}

int64_t microseconds(int64_t value, arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return value * 1000000;
    case arrow::TimeUnit::MILLI:
      return value * 1000;
    case arrow::TimeUnit::MICRO:
      return value;
    case arrow::TimeUnit::NANO:
      return value >= 0 ? value / 1000 : (value - 999) / 1000;
  }
  throw std::logic_error("unknown time unit");
}

void take_timestamps(const arrow::Array& array, TableColumn& column) {
  const auto unit = static_cast<const arrow::TimestampType&>(*array.type()).unit();
  take_integers<arrow::TimestampArray>(array, column);
  column.kind = TableColumn::Kind::kMicroseconds;
  for (int64_t& value : column.integers) value = microseconds(value, unit);
}

void take_dictionary(const arrow::Array& array, const std::string& name, const std::string& path,
                     TableColumn& column) {
  const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
  const TableColumn words = convert_column(*coded.dictionary(), name, path);
  if (words.kind != TableColumn::Kind::kText) {
    throw DataError(path + ", column '" + name + "': expected a dictionary of strings");
  }
  for (int64_t i = 0; i < coded.length(); ++i) {
    column.texts.push_back(coded.IsNull(i)
                               ? std::string_view()
                               : words.texts[static_cast<size_t>(coded.GetValueIndex(i))]);
  }
}

void take_values(const arrow::Array& array, const std::string& name, const std::string& path,
                 TableColumn& column) {
  switch (array.type_id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return take_texts<arrow::BinaryArray>(array, column);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return take_texts<arrow::LargeBinaryArray>(array, column);
    case arrow::Type::INT8:
      return take_integers<arrow::Int8Array>(array, column);
    case arrow::Type::INT16:
      return take_integers<arrow::Int16Array>(array, column);
    case arrow::Type::INT32:
      return take_integers<arrow::Int32Array>(array, column);
    case arrow::Type::INT64:
      return take_integers<arrow::Int64Array>(array, column);
    case arrow::Type::UINT8:
      return take_integers<arrow::UInt8Array>(array, column);
    case arrow::Type::UINT16:
      return take_integers<arrow::UInt16Array>(array, column);
    case arrow::Type::UINT32:
      return take_integers<arrow::UInt32Array>(array, column);
    case arrow::Type::UINT64:
      take_integers<arrow::UInt64Array>(array, column);
      if (std::any_of(column.integers.begin(), column.integers.end(),
                      [](int64_t value) { return value < 0; })) {
        throw DataError(path + ", column '" + name +
                        "': expected numbers below 2^63; store larger ones as strings");
      }
      return;
    case arrow::Type::FLOAT:
      return take_reals<arrow::FloatArray>(array, column);
    case arrow::Type::DOUBLE:
      return take_reals<arrow::DoubleArray>(array, column);
    case arrow::Type::TIMESTAMP:
      return take_timestamps(array, column);
    case arrow::Type::DICTIONARY:
      return take_dictionary(array, name, path, column);
    default:
      throw DataError(path + ", column '" + name +
                      "': expected strings, numbers or timestamps, found " +
                      array.type()->ToString());
  }
}

}  // namespace

std::string TableColumn::text(size_t row) const {
  if (is_null(row)) return "";
  switch (kind) {
    case Kind::kText:
      return std::string(texts[row]);
    case Kind::kInteger:
    case Kind::kMicroseconds:
      return std::to_string(integers[row]);
    case Kind::kReal: {
      char digits[32];
      const auto end = std::to_chars(digits, digits + sizeof digits, reals[row]).ptr;
      return {digits, end};
    }
  }
  throw std::logic_error("unknown kind of column");
}

TableFormat table_format_of(const std::string& path) {
  std::string name = path;
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  if (name.ends_with(".csv")) return TableFormat::kCsv;
  if (name.ends_with(".tsv") || name.ends_with(".tab")) return TableFormat::kTsv;
  if (path.ends_with(".parquet")) return TableFormat::kParquet;
  throw DataError("cannot tell the format of " + path +
                  " from its name: expected .csv, .tsv, .csv.gz, .tsv.gz or .parquet; --format "
                  "says it");
}

void require_columns(const std::string& path, const std::vector<std::string>& found,
                     const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted) {
    if (std::find(found.begin(), found.end(), name) != found.end()) continue;
    const auto nearest = std::min_element(
        found.begin(), found.end(), [&name](const std::string& a, const std::string& b) {
          return distance_between(a, name) < distance_between(b, name);
        });
    throw DataError(path + ": there is no column '" + name + "'; found: " + joined(found) +
                    (nearest == found.end() ? "" : "; did you mean '" + *nearest + "'?"));
  }
}

std::unique_ptr<TableReader> TableReader::open(const std::string& path, TableFormat format,
                                               const std::vector<std::string>& columns) {
  if (File::open(path).size() == 0) throw DataError(path + " is empty");
  if (format == TableFormat::kByName) format = table_format_of(path);
  if (format == TableFormat::kParquet) return open_parquet_table(path, columns);
  return open_text_table(path, format, columns);
}

void check_arrow(const arrow::Status& status, const std::string& path) {
  if (status.ok()) return;
  if (status.IsIOError()) throw IoError("cannot read " + path + ": " + status.message());
  if (status.IsOutOfMemory()) throw std::bad_alloc();
  throw DataError("cannot read " + path + ": " + status.message());
}

TableColumn convert_column(const arrow::Array& array, const std::string& name,
                           const std::string& path) {
  TableColumn column;
  take_values(array, name, path, column);
  if (array.null_count() > 0) {
    for (int64_t i = 0; i < array.length(); ++i) column.null.push_back(array.IsNull(i));
  }
  return column;
}

}  // namespace pinnerformer
