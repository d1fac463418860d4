// What the readers of CSV, TSV and Parquet share of Arrow. For import_*.cc only.
#pragma once
#include <arrow/api.h>

#include <memory>
#include <string>

#include "dataloader/import/table.h"

namespace pinnerformer {

// Throws DataError or IoError with Arrow's reason where the status is not OK.
void check_arrow(const arrow::Status& status, const std::string& path);

template <typename Value>
Value arrow_value(arrow::Result<Value> result, const std::string& path) {
  check_arrow(result.status(), path);
  return std::move(result).ValueUnsafe();
}

// One column as ours. `name` is for the error where its type cannot be read.
TableColumn convert_column(const arrow::Array& array, const std::string& name,
                           const std::string& path);

std::unique_ptr<TableReader> open_text_table(const std::string& path, TableFormat format,
                                             const std::vector<std::string>& columns);
std::unique_ptr<TableReader> open_parquet_table(const std::string& path,
                                                const std::vector<std::string>& columns);

}  // namespace pinnerformer
