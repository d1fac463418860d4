// What the readers and writers of tables share of Arrow. For dataloader/import and
// dataloader/formats only.
#pragma once
#include <arrow/api.h>

#include <memory>
#include <string>
#include <vector>

#include "dataloader/import/table.h"

namespace pinnerformer {

// Throws DataError, or IoError where the operating system reported an error, with Arrow's reason
// where the status is not OK. `verb`: what was tried, for the message.
void check_arrow(const arrow::Status& status, const std::string& path, const char* verb = "read");

template <typename Value>
Value arrow_value(arrow::Result<Value> result, const std::string& path, const char* verb = "read") {
  check_arrow(result.status(), path, verb);
  return std::move(result).ValueUnsafe();
}

// What Arrow may allocate: a small file can expand to any size, so that its readers work within a
// limit (kImportProcessMib) and fail where they need more.
[[nodiscard]] arrow::MemoryPool* limited_pool();

// One column as ours. `name` is for the error where its type cannot be read.
TableColumn convert_column(const arrow::Array& array, const std::string& name,
                           const std::string& path);

[[nodiscard]] std::string joined(const std::vector<std::string>& names);  // "a, b"

std::unique_ptr<FormatReader> open_text_table(const InputFile& file, const FileForm& form,
                                              TableHeader header);
std::unique_ptr<FormatReader> open_json_table(const InputFile& file, const FileForm& form);
std::unique_ptr<FormatReader> open_parquet_table(const InputFile& file);

}  // namespace pinnerformer
