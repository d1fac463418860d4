// What an import would read, without importing.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>

#include "dataloader/import/cells.h"
#include "dataloader/import/column_guess.h"
#include "dataloader/import/import.h"

namespace pinnerformer {
namespace {

constexpr size_t kRows = 5;
constexpr size_t kFiles = 20;

// Whether a column can be read as one cell per row: nothing must fail for one that nobody maps.
bool is_readable(const TableField& field) {
  return std::ranges::none_of(
      std::array{"struct", "map", "list", "duration", "time32", "time64", "fixed_size_binary",
                 "interval", "extension"},
      [&](const char* type) { return field.type.find(type) != std::string::npos; });
}

// Rows of the file from its beginning, each with the texts of its readable cells and "" for others.
std::vector<std::vector<std::string>> first_rows(FormatReader& reader) {
  const std::vector<TableField> fields = reader.fields();
  std::vector<size_t> readable;
  for (size_t i = 0; i < fields.size(); ++i)
    if (is_readable(fields[i])) readable.push_back(i);
  std::vector<std::vector<std::string>> rows;
  if (readable.empty()) return rows;
  reader.select(readable);
  TableBatch batch;
  if (!reader.next(batch)) return rows;
  for (size_t row = 0; row < std::min(kRows, static_cast<size_t>(batch.rows)); ++row) {
    rows.emplace_back(fields.size());
    for (size_t i = 0; i < readable.size(); ++i)
      rows.back()[readable[i]] = trimmed(batch.columns[i].text(row));
  }
  return rows;
}

std::string describe_columns(const InputFile& file, const FileForm& form, TableHeader header) {
  std::ostringstream out;
  std::vector<TableField> fields = open_format(file, form, header)->fields();
  std::vector<std::vector<std::string>> rows = first_rows(*open_format(file, form, header));
  for (size_t i = 0; i < fields.size(); ++i) {
    out << "  " << printable(fields[i].name) << " (" << fields[i].type << ")";
    for (size_t row = 0; row < rows.size() && is_readable(fields[i]); ++row) {
      out << (row == 0 ? ": " : " | ") << printable(rows[row][i]);
    }
    out << "\n";
  }
  std::vector<TableField> with_folders = fields;
  for (const auto& [key, value] : file.folder_values) {
    out << "  " << printable(key) << " (folder): " << printable(value) << "\n";
    with_folders.push_back({key, "folder"});
    if (!rows.empty()) rows.front().push_back(value);
  }
  const std::string option =
      guess_columns_option(with_folders, rows.empty() ? std::vector<std::string>() : rows[0]);
  if (!option.empty()) out << "perhaps  " << printable(option) << "\n";
  if (header == TableHeader::kNames && looks_like_data(fields)) {
    out << "The first row looks like data: --no-header reads it so, with columns by number.\n";
  }
  if (fields.size() == 1) out << "One column only" << form_advice(file, form, fields) << "\n";
  return out.str();
}

}  // namespace

std::string describe_input(const ImportOptions& options) {
  const std::string scratch =
      (std::filesystem::temp_directory_path() / "pinnerformer.tmp-input-").string() +
      std::to_string(::getpid());
  const InputFiles files(options.events, scratch);
  std::ostringstream out;
  for (size_t i = 0; i < std::min(kFiles, files.files().size()); ++i) {
    const InputFile& file = files.files()[i];
    out << printable(file.name) << ": " << form_text(file_form(file, options.form)) << "\n";
  }
  if (files.files().size() > kFiles) {
    out << "and " << files.files().size() - kFiles << " more files\n";
  }
  const InputFile& first = files.files().front();
  const FileForm form = file_form(first, options.form);
  const TableHeader header =
      options.form.header == TableHeader::kAuto ? TableHeader::kNames : options.form.header;
  out << "columns of " << printable(first.name) << ", with its first rows:\n"
      << describe_columns(first, form, header);
  return out.str();
}

}  // namespace pinnerformer
