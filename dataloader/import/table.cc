// Choosing the reader and finding columns.
#include "dataloader/import/table.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "dataloader/base/digits.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/nearest_name.h"
#include "dataloader/base/time_text.h"
#include "dataloader/import/arrow.h"
#include "dataloader/import/column_guess.h"

namespace pinnerformer {
namespace {

// RecBole and others write a type behind the name: "user_id:token".
constexpr const char* kTypes[] = {":token", ":float", ":token_seq", ":float_seq"};

std::string without_type(const std::string& name) {
  for (const std::string_view type : kTypes) {
    if (name.ends_with(type)) return name.substr(0, name.size() - type.size());
  }
  return name;
}

std::vector<size_t> fields_named(const std::vector<TableField>& fields, const auto& has_name) {
  std::vector<size_t> found;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (has_name(fields[i].name)) found.push_back(i);
  }
  return found;
}

// The fields that a wanted name may mean: that name; else that name with a type; else, for nested
// JSON, the last part of a path.
std::vector<size_t> fields_meant(const std::vector<TableField>& fields, const std::string& wanted,
                                 TableFormat format) {
  std::vector<size_t> found =
      fields_named(fields, [&](const std::string& name) { return name == wanted; });
  if (found.empty()) {
    found =
        fields_named(fields, [&](const std::string& name) { return without_type(name) == wanted; });
  }
  if (found.empty() && format == TableFormat::kJsonLines) {
    found =
        fields_named(fields, [&](const std::string& name) { return name.ends_with("." + wanted); });
  }
  return found;
}

// Whether the first row, whose cells `reader` has for names, holds names indeed: none of the cells
// of these columns, given by number, looks like data, and one of the second row does.
bool is_header_over_numbers(FormatReader& reader, const std::vector<std::string>& columns) {
  std::vector<size_t> places;
  std::vector<TableField> first;
  for (const std::string& column : columns) {
    size_t place = 0;
    const auto number = std::from_chars(column.data(), column.data() + column.size(), place);
    if (number.ec != std::errc() || place >= reader.fields().size()) return false;
    if (std::ranges::find(places, place) != places.end()) continue;
    places.push_back(place);
    first.push_back(reader.fields()[place]);
  }
  if (looks_like_data(first)) return false;
  reader.select(places);
  TableBatch batch;
  if (!reader.next(batch) || batch.rows == 0) return false;
  std::vector<TableField> second;
  for (const TableColumn& column : batch.columns) second.push_back({column.text(0), ""});
  return looks_like_data(second);
}

[[noreturn]] void fail_with_several(const InputFile& file, const std::vector<TableField>& fields,
                                    const std::string& wanted, const std::vector<size_t>& found) {
  std::vector<std::string> names;
  for (const size_t field : found) names.push_back(fields[field].name);
  const bool are_paths = names[0] != wanted && names[0] != names[1];  // of nested JSON
  throw DataError(file.name + " has " + std::to_string(found.size()) + " columns '" + wanted +
                  "': " + (are_paths ? "name one of " + joined(names) : "rename all but one"));
}

std::vector<std::string> names_of(const std::vector<TableField>& fields) {
  std::vector<std::string> names;
  for (const TableField& field : fields) names.push_back(field.name);
  return names;
}

[[noreturn]] void fail_without_column(const InputFile& file, const FileForm& form,
                                      const std::vector<TableField>& fields,
                                      const std::string& wanted, const std::string& option) {
  const std::vector<std::string> names = names_of(fields);
  std::string message =
      file.name + ": there is no column '" + wanted + "'; found: " + joined(names);
  if (!names.empty()) message += "; did you mean '" + nearest_name(wanted, names) + "'?";
  const std::string other_form = form_advice(file, form, fields);
  if (!other_form.empty()) throw DataError(message + other_form);
  throw DataError(message + (option.empty() ? mapping_advice(file, fields)
                                            : "; " + option + " names other ones"));
}

// 2024-05-31T23:59:59.000123Z, without a fraction of 0.
std::string timestamp_text(int64_t microseconds) {
  constexpr int64_t kMillion = 1'000'000;
  const int64_t fraction = (microseconds % kMillion + kMillion) % kMillion;
  const int64_t seconds = microseconds / kMillion - (microseconds % kMillion < 0 ? 1 : 0);
  std::string text = utc_text(seconds);
  if (fraction == 0) return text;
  const std::string digits = std::to_string(kMillion + fraction).substr(1);
  return text.insert(text.size() - 1, "." + digits);
}

}  // namespace

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string TableColumn::text(size_t row) const {
  if (is_null(row)) return "";
  switch (kind) {
    case Kind::kText:
      return std::string(texts[row]);
    case Kind::kInteger:
      return std::to_string(integers[row]);
    case Kind::kMicroseconds:
      return timestamp_text(integers[row]);
    case Kind::kReal: {
      char digits[32];
      const auto end = std::to_chars(digits, digits + sizeof digits, reals[row]).ptr;
      return {digits, end};
    }
  }
  throw std::logic_error("unknown kind of column");
}

std::unique_ptr<FormatReader> open_format(const InputFile& file, const FileForm& form,
                                          TableHeader header) {
  switch (form.format) {
    case TableFormat::kParquet:
      return open_parquet_table(file);
    case TableFormat::kJsonLines:
      return open_json_table(file, form);
    default:
      return open_text_table(file, form, header);
  }
}

TableHeader resolve_header(const InputFile& file, const TableForm& form,
                           const std::vector<std::string>& columns) {
  if (form.header != TableHeader::kAuto) return form.header;
  const bool are_numbers = !columns.empty() && std::ranges::all_of(columns, has_digits_only);
  const FileForm known = file_form(file, form);
  const bool is_text = known.format == TableFormat::kCsv || known.format == TableFormat::kTsv;
  if (!are_numbers || !is_text) return TableHeader::kNames;
  const auto reader = open_format(file, known, TableHeader::kNames);
  const bool in_first_row = std::ranges::all_of(columns, [&](const std::string& column) {
    return !fields_meant(reader->fields(), column, known.format).empty();
  });
  if (!in_first_row &&
      (is_header_over_numbers(*reader, columns) || looks_like_header(reader->fields()))) {
    throw DataError(file.name + ": the columns are given by number, and the first row looks like " +
                    "names: " + joined(names_of(reader->fields())) +
                    "; give --columns these names, or --no-header where the row is data");
  }
  if (!in_first_row) return TableHeader::kNone;
  throw DataError(file.name + ": the columns are given by number, and the first row holds these " +
                  "numbers too: --no-header says that it is data, --header that it holds names");
}

bool begins_with_column(const InputFile& file, const TableForm& form, const std::string& column) {
  require_regular_file(file.path);
  const FileForm known = file_form(file, form);
  const auto reader = open_format(file, known, resolve_header(file, form, {column}));
  return !fields_meant(reader->fields(), column, known.format).empty();
}

TableReader::TableReader(const InputFile& file, const TableForm& form,
                         const WantedColumns& columns) {
  require_regular_file(file.path);
  form_ = file_form(file, form);
  reader_ = open_format(file, form_, resolve_header(file, form, columns.names));
  std::vector<size_t> selected;
  for (const std::string& wanted : columns.names) choose(file, wanted, columns, selected);
  reader_->select(selected);
}

void TableReader::choose(const InputFile& file, const std::string& wanted,
                         const WantedColumns& columns, std::vector<size_t>& selected) {
  const std::vector<TableField>& fields = reader_->fields();
  std::vector<size_t> found = fields_meant(fields, wanted, form_.format);
  if (found.empty()) {
    reader_->look_further();
    found = fields_meant(fields, wanted, form_.format);
  }
  if (found.size() > 1) fail_with_several(file, fields, wanted, found);
  if (found.empty()) {
    for (const auto& [key, value] : file.folder_values) {
      if (key == wanted) return sources_.push_back({0, true, true, value});
    }
    if (form_.format == TableFormat::kJsonLines && columns.may_lack_key &&
        columns.may_lack_key(wanted)) {
      return sources_.push_back({0, true, true, std::nullopt});
    }
    fail_without_column(file, form_, fields, wanted, columns.option);
  }
  const std::string& name = fields[found[0]].name;
  if (name.ends_with("_seq") && without_type(name) != name) {
    throw DataError(file.name + ", column '" + name +
                    "': expected one value per row, found a list per row; write one row per "
                    "element, or a Parquet file with a list column");
  }
  const auto place = std::ranges::find(selected, found[0]) - selected.begin();
  if (place == std::ssize(selected)) selected.push_back(found[0]);
  for (Source& source : sources_) {
    if (!source.is_constant && source.selected == static_cast<size_t>(place)) {
      source.last_use = false;
    }
  }
  sources_.push_back({static_cast<size_t>(place), true, false, ""});
}

bool TableReader::next(TableBatch& batch) {
  TableBatch read;
  const bool more = reader_->next(read);
  batch.empty_rows = read.empty_rows;
  if (!more) return false;
  batch.first_row = read.first_row;
  batch.rows = read.rows;
  batch.owner = std::move(read.owner);
  batch.columns.clear();
  for (const Source& source : sources_) {
    if (!source.is_constant) {
      TableColumn& column = read.columns[source.selected];
      batch.columns.push_back(source.last_use ? std::move(column) : column);
      continue;
    }
    TableColumn column;
    const std::string_view value = source.value ? std::string_view(*source.value) : "";
    column.texts.assign(static_cast<size_t>(batch.rows), value);
    if (!source.value) column.null.assign(static_cast<size_t>(batch.rows), true);
    batch.columns.push_back(std::move(column));
  }
  return true;
}

}  // namespace pinnerformer
