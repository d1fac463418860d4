// The quotes and the escape character of a CSV, before Arrow reads it. For dataloader/import only.
#pragma once
#include <arrow/io/interfaces.h>

#include <memory>

namespace pinnerformer {

// The bytes of a CSV whose quotes are in order: Arrow takes what it finds, and joins or drops
// values and rows without a word. Without an `escape` character ('\0') a quote inside a value is
// written twice. A read fails with one of these and the number of the line.
constexpr const char* kEscapedQuote = "a backslash stands before a quote, in line ";
constexpr const char* kOpenQuote =
    "expected a quote at the end of the value, found the end of the file: a quote that does not "
    "end opens in line ";
constexpr const char* kStrayQuote =
    "expected a delimiter behind the quote that closes a value, found more of it in line ";
constexpr const char* kBlankBeforeQuote =
    "expected a value or a quote, found a blank before a quote in line ";
[[nodiscard]] std::shared_ptr<arrow::io::InputStream> with_checked_quotes(
    std::shared_ptr<arrow::io::InputStream> bytes, char delimiter, char escape);
// The same bytes, in which a field \N (MySQL's NULL) still reads \N once `escape` characters are
// taken away.
[[nodiscard]] std::shared_ptr<arrow::io::InputStream> with_kept_nulls(
    std::shared_ptr<arrow::io::InputStream> bytes, char delimiter, char escape);

}  // namespace pinnerformer
