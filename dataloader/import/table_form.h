// The form of a table's file: format, delimiter, header and compression, from options, the file's
// name and its first bytes.
#pragma once
#include <string>
#include <string_view>

#include "dataloader/import/input_file.h"

namespace pinnerformer {

// kUserLines: one user per line, "user item item ...", as the columns user and item.
enum class TableFormat { kByName, kCsv, kTsv, kParquet, kJsonLines, kUserLines };
// kAuto: the first row holds names, unless all wanted columns are numbers.
enum class TableHeader { kAuto, kNames, kNone };
enum class Compression { kNone, kGzip, kZstd, kBzip2, kLz4, kBrotli };

// What the user says of a table.
struct TableForm {
  TableFormat format = TableFormat::kByName;
  std::string delimiter;  // "": that of the format; " ": any number of blanks and tabs
  char escape = '\0';  // before a quote inside a value in quotes; 0: such a quote is written twice
  TableHeader header = TableHeader::kAuto;
};

// What is known of one file.
struct FileForm {
  TableFormat format = TableFormat::kCsv;  // not kByName
  std::string delimiter;                   // not empty for text
  char escape = '\0';                      // as in TableForm
  Compression compression = Compression::kNone;
};

// The format from the form or the file's name, the compression from its first bytes. A Parquet file
// is known by its content, whatever its name. Throws DataError where the name says nothing, or
// where the content is of a kind that cannot be read (ZIP, UTF-16, Avro ...).
[[nodiscard]] FileForm file_form(const InputFile& file, const TableForm& form);

// The form of a table that is read beside the one that the user described as `first`. It has its
// own format where its content or name says so; between CSV and TSV its first line decides. It has
// the delimiter of the first where its first line holds it, or is compressed. `has_names`: its
// columns are wanted by name. Throws as require_regular_file().
[[nodiscard]] TableForm form_beside(const InputFile& file, const TableForm& first, bool has_names);

// "tab" -> "\t"; also space, comma, semicolon, pipe, colon and "\t". Other texts stand for
// themselves.
[[nodiscard]] std::string delimiter_of(const std::string& word);

// The delimiter that the first line of a text seems to have, "" where none is found.
[[nodiscard]] std::string guess_delimiter(std::string_view line);
// "--delimiter ';'", for messages.
[[nodiscard]] std::string delimiter_option(const std::string& delimiter);
// What a text with this beginning seems to be, as an option: "--format jsonl".
[[nodiscard]] std::string guess_format_option(std::string_view beginning);
// "CSV, gzip, delimiter ','" for people.
[[nodiscard]] std::string form_text(const FileForm& form);
// Throws DataError where the beginning of a text shows that it is something else (UTF-16, a
// compressed file, a format with magic bytes). `name` is for the message.
void require_text(const std::string& name, std::string_view beginning);

}  // namespace pinnerformer
