// Lists of numbers, row by row.
#include "dataloader/import/parquet_vectors.h"

#include "dataloader/base/errors.h"
#include "dataloader/import/arrow.h"
#include "dataloader/import/parquet_file.h"

namespace pinnerformer {
namespace {

template <typename Array>
float integer_at(const arrow::Array& values, int64_t index, const std::string& where) {
  const auto value = static_cast<const Array&>(values).Value(index);
  if (is_exact_float(value)) return static_cast<float>(value);
  refuse_inexact(where, std::to_string(value));
}

float number_at(const arrow::Array& values, int64_t index, const std::string& where) {
  switch (values.type_id()) {
    case arrow::Type::INT8:
      return integer_at<arrow::Int8Array>(values, index, where);
    case arrow::Type::INT16:
      return integer_at<arrow::Int16Array>(values, index, where);
    case arrow::Type::INT32:
      return integer_at<arrow::Int32Array>(values, index, where);
    case arrow::Type::INT64:
      return integer_at<arrow::Int64Array>(values, index, where);
    case arrow::Type::UINT8:
      return integer_at<arrow::UInt8Array>(values, index, where);
    case arrow::Type::UINT16:
      return integer_at<arrow::UInt16Array>(values, index, where);
    case arrow::Type::UINT32:
      return integer_at<arrow::UInt32Array>(values, index, where);
    case arrow::Type::UINT64:
      return integer_at<arrow::UInt64Array>(values, index, where);
    case arrow::Type::FLOAT:
      return static_cast<const arrow::FloatArray&>(values).Value(index);
    case arrow::Type::DOUBLE:
      return static_cast<float>(static_cast<const arrow::DoubleArray&>(values).Value(index));
    case arrow::Type::HALF_FLOAT:
      return half_to_float(static_cast<const arrow::HalfFloatArray&>(values).Value(index));
    default:
      throw DataError(where + ": expected lists of numbers, found lists of " +
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
      throw DataError(where + ": expected lists of numbers, found " + column.type()->ToString());
  }
}

}  // namespace

void refuse_inexact(const std::string& where, const std::string& found) {
  throw DataError(where + ": expected a number that float32 holds exactly, found " + found +
                  "; store the vectors as floats");
}

void read_parquet_vectors(
    const std::string& path, const std::string& column,
    const std::function<bool(int64_t row, const std::vector<float>& values)>& visit) {
  const ParquetFile file(path, path);
  const auto batches = file.read({file.field_named(column)});
  const std::string where = path + ", column '" + column + "'";
  int64_t row = 0;
  std::vector<float> values;
  std::shared_ptr<arrow::RecordBatch> batch;
  while (true) {
    check_arrow(batches->ReadNext(&batch), path);
    if (!batch) return;
    const arrow::Array& lists = *batch->column(0);
    for (int64_t i = 0; i < lists.length(); ++i, ++row) {
      values.clear();
      if (!lists.IsNull(i)) {
        const ListRow list = list_row(lists, i, where);
        const std::string where_in_file = where + ", row " + std::to_string(row + 1);
        for (int64_t j = 0; j < list.length; ++j) {
          if (list.values->IsNull(list.start + j)) {
            throw DataError(where_in_file + ": expected a number, element " + std::to_string(j) +
                            " is null");
          }
          values.push_back(number_at(*list.values, list.start + j, where_in_file));
        }
      }
      if (!visit(row, values)) return;
    }
  }
}

}  // namespace pinnerformer
