// The bytes of a text file, decompressed, and its lines. For dataloader/import only.
#pragma once
#include <arrow/io/interfaces.h>
#include <arrow/util/compression.h>

#include <memory>
#include <string>

#include "dataloader/import/table_form.h"

namespace pinnerformer {

class CountedInput;

// A file as Arrow's input. A byte order mark is skipped.
class TextStream {
 public:
  // Throws DataError where the decompressed beginning shows that it is no text.
  TextStream(const InputFile& file, Compression compression);
  [[nodiscard]] const std::shared_ptr<arrow::io::InputStream>& bytes() const { return bytes_; }
  // How much of the file has been read, compressed, 0 to 1.
  [[nodiscard]] double fraction() const;

 private:
  std::shared_ptr<CountedInput> counted_;
  std::unique_ptr<arrow::util::Codec> codec_;
  std::shared_ptr<arrow::io::InputStream> bytes_;
};

// The bytes of a CSV whose quotes are in order: Arrow takes what it finds, and joins or drops
// values and rows without a word. Without an `escape` character ('\0') a quote inside a value is
// written twice. A read fails with one of these and the number of the line.
constexpr const char* kEscapedQuote = "a backslash stands before a quote, in line ";
constexpr const char* kOpenQuote =
    "expected a quote at the end of the value, found the end of the file: a quote that does not "
    "end "
    "opens in line ";
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

// Lines of a stream, without their ends (\n or \r\n).
class LineReader {
 public:
  LineReader(std::shared_ptr<arrow::io::InputStream> bytes, std::string name)
      : bytes_(std::move(bytes)), name_(std::move(name)) {}
  // False at the end. Throws DataError for a line longer than 16 MiB.
  bool next(std::string& line);
  [[nodiscard]] int64_t number() const { return number_; }  // of the last line, from 1

 private:
  bool fill();
  std::shared_ptr<arrow::io::InputStream> bytes_;
  std::string name_;
  std::string buffer_;
  size_t position_ = 0;
  int64_t number_ = 0;
};

// Rewrites lines for a reader of single-character delimiters: the fields of a line, separated by
// `delimiter` (" ": any blanks), come out separated by kFieldSeparator. With `user_lines` the line
// "user item item" comes out as one line per item.
constexpr char kFieldSeparator = '\x1f';
[[nodiscard]] std::shared_ptr<arrow::io::InputStream> rewritten_lines(
    const std::shared_ptr<arrow::io::InputStream>& bytes, const InputFile& file,
    const std::string& delimiter, bool user_lines);

}  // namespace pinnerformer
