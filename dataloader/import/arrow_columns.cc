// Arrow's arrays as TableColumns. Types without a form of their own are cast by Arrow.
#include <arrow/compute/cast.h>
#include <arrow/type_traits.h>
#include <arrow/util/io_util.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "dataloader/base/errors.h"
#include "dataloader/import/arrow.h"
#include "dataloader/import/import.h"

namespace pinnerformer {
namespace {

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
  using Value = typename ArrayType::value_type;
  column.exact_below = std::ldexp(1.0, std::numeric_limits<Value>::digits);
  for (int64_t i = 0; i < typed.length(); ++i) {
    column.reals.push_back(static_cast<double>(typed.Value(i)));
  }
}

// The ends of int64 stand for all that does not fit; no such time is accepted.
int64_t multiplied(int64_t value, int64_t factor) {
  int64_t product = 0;
  if (!__builtin_mul_overflow(value, factor, &product)) return product;
  return value < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

int64_t microseconds(int64_t value, arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return multiplied(value, 1000000);
    case arrow::TimeUnit::MILLI:
      return multiplied(value, 1000);
    case arrow::TimeUnit::MICRO:
      return value;
    case arrow::TimeUnit::NANO:
      return value / 1000 - (value % 1000 < 0 ? 1 : 0);
  }
  throw std::logic_error("unknown time unit");
}

void take_timestamps(const arrow::Array& array, TableColumn& column) {
  const auto unit = static_cast<const arrow::TimestampType&>(*array.type()).unit();
  take_integers<arrow::TimestampArray>(array, column);
  column.kind = TableColumn::Kind::kMicroseconds;
  for (int64_t& value : column.integers) value = microseconds(value, unit);
}

// Reads the array as another type of Arrow; the column keeps what its texts point into.
void take_cast(const arrow::Array& array, const std::shared_ptr<arrow::DataType>& type,
               const std::string& name, const std::string& path, TableColumn& column) {
  arrow::compute::ExecContext context(limited_pool());
  const auto cast =
      arrow_value(arrow::compute::Cast(array, type, arrow::compute::CastOptions::Safe(), &context),
                  path + ", column '" + name + "'");
  column = convert_column(*cast, name, path);
  if (!column.owner) column.owner = cast;
}

// Numbers from 2^63 on are no int64: they become the texts of their digits, as in a CSV.
void take_unsigned(const arrow::Array& array, const std::string& name, const std::string& path,
                   TableColumn& column) {
  take_integers<arrow::UInt64Array>(array, column);
  for (int64_t i = 0; i < array.length(); ++i) {
    if (!array.IsNull(i) && column.integers[static_cast<size_t>(i)] < 0) {
      return take_cast(array, arrow::utf8(), name, path, column);
    }
  }
}

// Only a damaged file names entries that a dictionary does not have.
void check_entries(const arrow::DictionaryArray& coded, const std::string& name,
                   const std::string& path) {
  const int64_t entries = coded.dictionary()->length();
  for (int64_t i = 0; i < coded.length(); ++i) {
    if (coded.IsNull(i)) continue;
    if (const int64_t entry = coded.GetValueIndex(i); entry < 0 || entry >= entries)
      throw DataError(path + ", column '" + name + "': damaged: a value is entry " +
                      std::to_string(entry) + " of a dictionary of " + std::to_string(entries) +
                      "; write the file again");
  }
}

void take_dictionary(const arrow::Array& array, const std::string& name, const std::string& path,
                     TableColumn& column) {
  const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
  const auto& type = static_cast<const arrow::DictionaryType&>(*array.type());
  check_entries(coded, name, path);
  const TableColumn words = convert_column(*coded.dictionary(), name, path);
  if (words.kind != TableColumn::Kind::kText) {
    return take_cast(array, type.value_type(), name, path, column);
  }
  column.owner = words.owner;
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
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return take_texts<arrow::BinaryViewArray>(array, column);
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
      return take_unsigned(array, name, path, column);
    case arrow::Type::HALF_FLOAT:
      take_cast(array, arrow::float32(), name, path, column);
      column.exact_below = 0x1p11;
      return;
    case arrow::Type::FLOAT:
      return take_reals<arrow::FloatArray>(array, column);
    case arrow::Type::DOUBLE:
      return take_reals<arrow::DoubleArray>(array, column);
    case arrow::Type::TIMESTAMP:
      return take_timestamps(array, column);
    case arrow::Type::DATE32:
    case arrow::Type::DATE64:
      return take_cast(array, arrow::timestamp(arrow::TimeUnit::SECOND), name, path, column);
    case arrow::Type::BOOL:
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
      return take_cast(array, arrow::utf8(), name, path, column);
    case arrow::Type::NA:
      column.texts.resize(static_cast<size_t>(array.length()));
      return;
    case arrow::Type::DICTIONARY:
      return take_dictionary(array, name, path, column);
    default:
      throw DataError(
          path + ", column '" + name + "': expected strings, numbers, dates or timestamps, found " +
          array.type()->ToString() +
          (arrow::is_nested(array.type_id()) ? "; write its parts as columns of their own" : ""));
  }
}

}  // namespace

void check_arrow(const arrow::Status& status, const std::string& path, const char* verb) {
  if (status.ok()) return;
  if (arrow::internal::ErrnoFromStatus(status) != 0) {
    throw IoError("cannot " + std::string(verb) + " " + path + ": " + status.message());
  }
  if (status.IsOutOfMemory() && status.message().find("cap exceeded") != std::string::npos) {
    throw DataError("cannot " + std::string(verb) + " " + path + ": a part of it needs more than " +
                    std::to_string(kImportProcessMib) +
                    " MiB at once; write it with smaller row groups, pages, lists or lines");
  }
  if (status.IsOutOfMemory()) throw std::bad_alloc();
  throw DataError("cannot " + std::string(verb) + " " + path + ": " + status.message());
}

arrow::MemoryPool* limited_pool() {
  static arrow::CappedMemoryPool pool(arrow::default_memory_pool(), kImportProcessMib << 20);
  return &pool;
}

TableColumn convert_column(const arrow::Array& array, const std::string& name,
                           const std::string& path) {
  TableColumn column;
  take_values(array, name, path, column);
  column.null.clear();
  if (array.null_count() > 0) {
    for (int64_t i = 0; i < array.length(); ++i) column.null.push_back(array.IsNull(i));
  }
  return column;
}

}  // namespace pinnerformer
