// Names and values that are common in public data sets.
#include "dataloader/import/column_guess.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "dataloader/import/text_stream.h"

namespace pinnerformer {
namespace {

struct RoleNames {
  const char* role;
  std::vector<std::string> names;  // in lower case without _ and -, most likely first
};

const std::array<RoleNames, 6>& role_names() {
  static const std::array<RoleNames, 6> roles = {{
      {"user",
       {"user", "userid", "uid", "session", "sessionid", "visitorid", "customerid", "customer",
        "reviewerid", "accountid", "memberid", "playerid"}},
      {"item", {"item",    "itemid",     "iid",      "aid",       "movieid",    "productid",
                "product", "parentasin", "asin",     "videoid",   "articleid",  "bookid",
                "trackid", "songid",     "artistid", "pinid",     "businessid", "newsid",
                "postid",  "adid",       "gameid",   "stockcode", "sku"}},
      {"time",
       {"time", "timestamp", "ts", "timems", "tsms", "datetime", "date", "eventtime",
        "unixreviewtime", "createdat", "invoicedate", "unixtime", "timestampms"}},
      {"action",
       {"action", "event", "type", "eventtype", "behavior", "behaviour", "actiontype",
        "behaviortype"}},
      {"surface", {"surface", "page", "tab", "channel", "device", "platform"}},
      {"duration",
       {"duration", "durationms", "dwell", "dwelltime", "playtime", "playtimems", "watchtime",
        "viewtime"}},
  }};
  return roles;
}

std::string simplified(const std::string& name) {
  std::string simple;
  const size_t type = std::min(name.find(":token"), name.find(":float"));
  const std::string plain = name.substr(name.rfind('.', type) + 1);
  for (const char letter : plain.substr(0, std::min(plain.find(":token"), plain.find(":float")))) {
    if (letter != '_' && letter != '-' && letter != ' ') {
      simple += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    }
  }
  return simple;
}

// ":ms" for a value of 13 digits, by the size that times of today have.
std::string unit_of_value(const std::string& value) {
  const std::string whole = value.substr(0, value.find('.'));
  if (whole.find_first_not_of("0123456789") != std::string::npos) return ":iso";
  const bool is_date = whole.size() == 8 || whole.size() == 14;  // 20240531, 20240531235959
  if (is_date && (whole.starts_with("19") || whole.starts_with("20"))) return ":iso";
  if (whole.size() >= 18) return ":ns";
  if (whole.size() >= 15) return ":us";
  return whole.size() >= 12 ? ":ms" : ":s";
}

bool is_numeric(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789.+-eE:TZ /") == std::string::npos &&
         text.find_first_of("0123456789") != std::string::npos;
}

std::string first_line(const InputFile& file, const FileForm& form) {
  const TextStream stream(file, form.compression);
  LineReader lines(stream.bytes(), file.name);
  std::string line;
  lines.next(line);
  return line;
}

bool is_time_type(const TableField& field) {
  return field.type.starts_with("timestamp") || field.type.starts_with("date");
}

// 2024-05-31 or 2024/05/31, perhaps with a time behind it.
bool begins_with_date(std::string_view value) {
  constexpr std::string_view kForm = "dddd-dd-dd";
  if (value.size() < kForm.size()) return false;
  for (size_t i = 0; i < kForm.size(); ++i)
    if (kForm[i] == 'd' ? std::isdigit(static_cast<unsigned char>(value[i])) == 0
                        : value[i] != kForm[i] && value[i] != '/')
      return false;
  return true;
}

// "time=t_dat:iso" of the first column that holds times and is not in `mapping`, whatever its name;
// "" where none does.
std::string guess_time_by_value(const std::vector<TableField>& fields,
                                const std::vector<std::string>& first_row,
                                const std::string& mapping) {
  for (size_t i = 0; i < fields.size(); ++i) {
    if ((mapping + ",").find("=" + fields[i].name + ",") != std::string::npos) continue;
    if (is_time_type(fields[i])) return "time=" + fields[i].name;
    if (i < first_row.size() && begins_with_date(first_row[i]))
      return "time=" + fields[i].name + ":iso";
  }
  return "";
}

std::string guess_mapping(const std::vector<TableField>& fields,
                          const std::vector<std::string>& first_row) {
  std::string mapping;
  for (const RoleNames& role : role_names()) {
    for (const std::string& name : role.names) {
      const auto found = std::ranges::find_if(
          fields, [&](const TableField& field) { return simplified(field.name) == name; });
      if (found == fields.end()) continue;
      const auto place = static_cast<size_t>(found - fields.begin());
      if (!mapping.empty()) mapping += ',';
      mapping.append(role.role).append(1, '=').append(found->name);
      const bool is_text = place < first_row.size() && !is_time_type(*found);
      if (role.role == std::string_view("time") && is_text && !first_row[place].empty()) {
        mapping += unit_of_value(first_row[place]);
      }
      if (role.role == std::string_view("duration") && name.ends_with("ms")) mapping += ":ms";
      break;
    }
  }
  return mapping;
}

// As delimiter_advice(), of a file that begins with this line.
std::string line_advice(const std::string& line, const FileForm& form) {
  if (line.starts_with('#')) return "; its first line looks like a comment: remove such lines";
  if (line.starts_with("sep=")) return "; its first line is meant for Excel: remove it";
  if (line.find(form.delimiter) != std::string::npos) return "";
  const std::string delimiter = guess_delimiter(line);
  return delimiter.empty()
             ? ""
             : "; this looks separated by '" + delimiter + "': " + delimiter_option(delimiter);
}

}  // namespace

bool looks_like_header(const std::vector<TableField>& fields) {
  const std::string mapping = guess_mapping(fields, {});  // in the order of the roles
  return mapping.starts_with("user=") && mapping.find(",item=") != std::string::npos;
}

std::string guess_columns_option(const std::vector<TableField>& fields,
                                 const std::vector<std::string>& first_row) {
  std::string mapping = guess_mapping(fields, first_row);
  if (mapping.empty()) return "";
  const auto has = [&](const char* role) {
    return ("," + mapping).find(std::string(",") + role + "=") != std::string::npos;
  };
  if (!has("time"))
    if (const std::string time = guess_time_by_value(fields, first_row, mapping); !time.empty())
      mapping += "," + time;
  const bool untimed = has("user") && has("item") && !has("time");
  return "--columns " + mapping + (untimed ? " --untimed" : "");
}

bool looks_like_data(const std::vector<TableField>& fields) {
  return std::ranges::any_of(fields,
                             [](const TableField& field) { return is_numeric(field.name); });
}

std::string delimiter_advice(const InputFile& file, const FileForm& form) {
  return line_advice(first_line(file, form), form);
}

std::string form_advice(const InputFile& file, const FileForm& form,
                        const std::vector<TableField>& fields) {
  const bool is_text = form.format == TableFormat::kCsv || form.format == TableFormat::kTsv;
  if (is_text && !fields.empty() && fields[0].name.starts_with("{")) {
    return "; this looks like JSON lines: --format jsonl reads them";
  }
  if (is_text && fields.size() == 1) {
    const std::string line = first_line(file, form);
    std::string advice = line_advice(line, form);
    if (is_numeric(line)) {
      advice +=
          "; this looks like a file without a header: --no-header, with columns by number "
          "from 0 (user=0,item=1)";
      if (guess_delimiter(line) == " ") advice += "; or one user per line: --format user-lines";
    }
    return advice;
  }
  if (is_text && looks_like_data(fields)) {
    return "; the first row looks like data, not like names: --no-header, with columns by number "
           "from 0 (user=0,item=1), reads a file without a header";
  }
  return "";
}

std::string mapping_advice(const InputFile& file, const std::vector<TableField>& fields) {
  const std::string option = guess_columns_option(fields, {});
  return (option.empty() ? "" : "; perhaps " + option) +
         "; `pinnerformer import --describe --events " + file.name + "` shows the columns";
}

}  // namespace pinnerformer
