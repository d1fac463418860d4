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
