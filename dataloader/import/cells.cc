// Parsing of single cells.
#include "dataloader/import/cells.h"

#include <arrow/util/utf8.h>
#include <arrow/util/value_parsing.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "dataloader/base/digits.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/time_text.h"

namespace pinnerformer {
namespace {

double units_per_second(TimeUnit unit) {
  switch (unit) {
    case TimeUnit::kSeconds:
      return 1.0;
    case TimeUnit::kMilliseconds:
      return 1e3;
    case TimeUnit::kMicroseconds:
      return 1e6;
    case TimeUnit::kNanoseconds:
      return 1e9;
    case TimeUnit::kIso:
      break;
  }
  throw std::logic_error("this unit is not a number");
}

// `of_date` is the advice where the text is a date.
double real_of(const Cell& cell, const std::string& of_date) {
  switch (cell.column.kind) {
    case TableColumn::Kind::kInteger:
      return static_cast<double>(cell.column.integers[cell.row]);
    case TableColumn::Kind::kReal:
      return cell.column.reals[cell.row];
    case TableColumn::Kind::kText: {
      const std::string_view text = cell.text();
      double value = 0;
      const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
      if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return value;
      const bool date = text.size() >= 10 && text[4] == '-' && text[7] == '-';
      cell.fail("a number", date ? "; it looks like a date: " + of_date : "");
    }
    case TableColumn::Kind::kMicroseconds:
      cell.fail("a number", "; it is a timestamp");
  }
  throw std::logic_error("unknown kind of column");
}

int64_t floor_divided(int64_t value, int64_t divisor) {
  return value / divisor - (value % divisor < 0 ? 1 : 0);
}

std::optional<int64_t> whole_number_of(const Cell& cell) {
  if (cell.column.kind == TableColumn::Kind::kInteger) return cell.column.integers[cell.row];
  if (cell.column.kind == TableColumn::Kind::kText) return canonical_integer(cell.text());
  return std::nullopt;
}

// Throws where the file has rounded a time to more than a second.
void require_exact_second(const Cell& cell, double seconds) {
  const bool is_text = cell.column.kind == TableColumn::Kind::kText;
  if (is_text && is_shortened_number(cell.text())) {
    cell.fail("a time with all its digits",
              "; a spreadsheet, or a format such as %g, has rounded it: write the column as whole "
              "numbers");
  }
  if (!is_text && std::abs(seconds) > cell.column.exact_below) {
    cell.fail("a time to the second",
              "; the column holds floating-point numbers, which are rounded at this size: write "
              "it as int64 or as timestamps");
  }
}

// Whole numbers are scaled as integers: a double has too few digits for microseconds of today
// times a unit.
int64_t microseconds_of_number(const Cell& cell) {
  constexpr double kMost = 9.2e18;
  const auto per_second = static_cast<int64_t>(units_per_second(cell.meaning.unit));
  const std::optional<int64_t> whole = whole_number_of(cell);
  const double value = whole ? static_cast<double>(*whole)
                             : real_of(cell, "time=" + cell.meaning.name + ":iso reads it");
  const double microseconds = value * 1e6 / static_cast<double>(per_second);
  if (std::isnan(microseconds)) cell.fail("a number");
  if (microseconds >= kMost) return std::numeric_limits<int64_t>::max();
  if (microseconds <= -kMost) return std::numeric_limits<int64_t>::min();
  if (!whole) {
    require_exact_second(cell, value / static_cast<double>(per_second));
    return std::llround(microseconds);
  }
  constexpr int64_t kMillion = 1000000;
  if (per_second <= kMillion) return *whole * (kMillion / per_second);
  return floor_divided(*whole, per_second / kMillion);
}

// Cuts "Z", "+00:00", " UTC" and their like off a time.
void drop_utc_offset(std::string& text) {
  for (const char* offset :
       {"Z", "+00:00", "-00:00", "+0000", "-0000", "+00", "-00", " UTC", " GMT"}) {
    if (text.ends_with(offset) && text.size() > 10) {
      text.resize(text.size() - std::string_view(offset).size());
      text.resize(trimmed(text).size());
      return;
    }
  }
}

// Arrow reads an offset directly behind the time, git and date write "12:00:00 +0200".
void join_offset(std::string& text) {
  const size_t blank = text.rfind(' ');
  if (blank == std::string::npos || blank <= 10 || blank + 1 == text.size()) return;
  if (text[blank + 1] == '+' || text[blank + 1] == '-') text.erase(blank, 1);
}

// "20240531" becomes "2024-05-31", "20240531235959" and "20240531T235959" also get a time;
// "2024/05/31" becomes "2024-05-31".
void separate_digits(std::string& text) {
  if (text.size() >= 10 && text[4] == '/' && text[7] == '/') text[4] = text[7] = '-';
  if (text.size() == 15 && text[8] == 'T' && has_digits_only(std::string_view(text).substr(9)))
    text.erase(8, 1);
  if (!has_digits_only(text) || (text.size() != 8 && text.size() != 14)) return;
  if (text.size() == 14) text.insert(12, ":").insert(10, ":").insert(8, " ");
  text.insert(6, "-").insert(4, "-");
}

// In UTC where the text has an offset.
bool parse_iso(std::string_view text, arrow::TimeUnit::type unit, int64_t* time) {
  bool has_offset = false;
  return arrow::internal::ParseTimestampISO8601(text.data(), text.size(), unit, time, &has_offset);
}

int64_t microseconds_of_text(const Cell& cell) {
  std::string text(trimmed(cell.column.text(cell.row)));
  drop_utc_offset(text);
  join_offset(text);
  separate_digits(text);
  int64_t time = 0;
  if (parse_iso(text, arrow::TimeUnit::NANO, &time)) return floor_divided(time, 1000);
  // Nanoseconds end in 2262: a year such as 9999 is a time, if one that is refused or dropped.
  constexpr int64_t kMostSeconds = 9'200'000'000;
  const std::string_view whole = std::string_view(text).substr(0, text.find('.'));
  if (parse_iso(whole, arrow::TimeUnit::SECOND, &time) && std::abs(time) > kMostSeconds)
    return time * 1'000'000;
  cell.fail("a time such as 2024-05-31 23:59:59 (UTC) or 2024-05-31T23:59:59+02:00");
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool is_shortened_number(std::string_view text) {
  const size_t exponent = text.find_first_of("eE");
  if (exponent == std::string_view::npos) return false;
  const std::string_view mantissa = text.substr(0, exponent);
  const size_t point = mantissa.find('.');
  const bool has_point = point != std::string_view::npos;
  const std::string_view decimals = has_point ? mantissa.substr(point + 1) : "0";
  std::string_view power = text.substr(exponent + 1);
  if (!power.starts_with('+') || !has_digits_only(mantissa.substr(0, point)) ||
      !has_digits_only(decimals))
    return false;
  power.remove_prefix(1);
  int64_t digits = 0;
  const auto end = std::from_chars(power.data(), power.data() + power.size(), digits).ptr;
  return !power.empty() && end == power.data() + power.size() && std::ssize(decimals) < digits;
}

const char* text_fault(std::string_view text) {
  static const bool initialised = [] {
    arrow::util::InitializeUTF8();
    return true;
  }();
  static_cast<void>(initialised);
  if (text.find('\0') != std::string_view::npos) return "text without a NUL byte";
  if (text.starts_with("\xef\xbb\xbf")) return "text without a byte order mark";
  return arrow::util::ValidateUTF8(text) ? nullptr : "text in UTF-8";
}

std::string_view Cell::text() const { return trimmed(column.texts[row]); }

std::string Cell::storable_text() const {
  if (is_empty(*this)) return "";
  const std::string stored(column.kind == TableColumn::Kind::kText ? std::string(text())
                                                                   : column.text(row));
  if (const char* expected = text_fault(stored)) {
    fail(expected, stored.find('\0') == std::string::npos
                       ? "; iconv -f LATIN1 -t UTF-8, for example, converts a file"
                       : "");
  }
  return stored;
}

std::string Cell::place() const {
  return path + ", row " + std::to_string(file_row) + " (not counting the header), column '" +
         meaning.name + "'";
}

void Cell::fail(const std::string& expected, const std::string& advice) const {
  const std::string found = column.text(row);
  const bool is_name = !found.empty() && trimmed(found) == meaning.name;
  throw DataError(
      place() + ": expected " + expected + ", found '" + printable(found) + "'" +
      (is_name ? "; this is the name of the column: does the header come again?" : advice));
}

bool is_marked_missing(const Cell& cell) {
  if (cell.meaning.missing.empty()) return false;
  const std::string whole = cell.column.text(cell.row);
  const auto is_marked = [&](std::string_view text) {
    return std::ranges::find(cell.meaning.missing, text) != cell.meaning.missing.end();
  };
  const bool is_timestamp = cell.column.kind == TableColumn::Kind::kMicroseconds;
  return is_marked(trimmed(whole)) || (is_empty(cell) && is_marked("")) ||
         (is_timestamp && is_marked(std::to_string(cell.column.integers[cell.row])));
}

bool is_empty(const Cell& cell) {
  if (cell.column.is_null(cell.row)) return true;
  if (cell.column.kind == TableColumn::Kind::kText) return cell.text().empty();
  return cell.column.kind == TableColumn::Kind::kReal && std::isnan(cell.column.reals[cell.row]);
}

int64_t time_of(const Cell& cell) {
  if (cell.column.kind == TableColumn::Kind::kMicroseconds) return cell.column.integers[cell.row];
  return cell.meaning.unit == TimeUnit::kIso ? microseconds_of_text(cell)
                                             : microseconds_of_number(cell);
}

void fail_time(const Cell& cell, int64_t microseconds) {
  const std::string drop = "; --bad-times drop leaves such rows out";
  if (microseconds < 0) cell.fail("a time since 1970", drop);
  const bool is_number =
      cell.column.kind != TableColumn::Kind::kMicroseconds && cell.meaning.unit != TimeUnit::kIso;
  std::string advice;
  if (looks_like_date(cell)) {
    advice = "; it looks like a date: time=" + cell.meaning.name +
             ":iso reads 20240131 and 20240131235959";
  } else if (is_number && cell.meaning.unit != TimeUnit::kNanoseconds) {
    advice = "; is it in a smaller unit? time=" + cell.meaning.name +
             ":ms says milliseconds, :us microseconds, :ns nanoseconds";
  }
  cell.fail("a time before 2100", advice + drop);
}

bool looks_like_date(const Cell& cell) {
  const bool is_timestamp = cell.column.kind == TableColumn::Kind::kMicroseconds;
  if (is_timestamp || cell.meaning.unit == TimeUnit::kIso) return false;
  const std::string whole = cell.column.text(cell.row);
  const std::string_view text = trimmed(whole);
  if (!has_digits_only(text) || (text.size() != 8 && text.size() != 14)) return false;
  const std::string date(text.substr(0, 8));
  return "19800101" <= date && date < "21000101" && "01" <= date.substr(4, 2) &&
         date.substr(4, 2) <= "12" && "01" <= date.substr(6, 2) && date.substr(6, 2) <= "31";
}

float duration_of(const Cell& cell) {
  const double number = real_of(cell,
                                "a duration is a number of seconds, or of milliseconds with "
                                "duration=COLUMN:ms; name another column, or none");
  const double seconds = number / units_per_second(cell.meaning.unit);
  if (!(seconds >= 0) || std::isinf(static_cast<float>(seconds))) {
    cell.fail("a duration of 0 or more", "; --missing duration=" + cell.column.text(cell.row) +
                                             " says that this stands for unknown");
  }
  return static_cast<float>(seconds);
}

std::optional<int64_t> integer_id_of(const Cell& cell) {
  switch (cell.column.kind) {
    case TableColumn::Kind::kInteger:
      return cell.column.integers[cell.row];
    case TableColumn::Kind::kText: {
      const auto number = canonical_integer(cell.text());
      return number ? number : whole_decimal(cell.text());
    }
    case TableColumn::Kind::kReal: {
      const double value = cell.column.reals[cell.row];
      const bool is_whole = value == std::floor(value);
      if (is_whole && std::abs(value) < cell.column.exact_below) return static_cast<int64_t>(value);
      cell.fail("whole numbers or strings as ids",
                is_whole ? "; the column holds floating-point numbers, which are rounded at this "
                           "size: write the ids as int64 or as strings"
                         : "; the column holds floating-point numbers: cast it to int64 or to "
                           "string");
    }
    case TableColumn::Kind::kMicroseconds:
      cell.fail("whole numbers or strings as ids", "; the column holds timestamps");
  }
  throw std::logic_error("unknown kind of column");
}

int64_t add_id(IdDictionary& dictionary, const Cell& cell) {
  if (cell.column.kind != TableColumn::Kind::kText) return dictionary.add(*integer_id_of(cell));
  if (dictionary.integers()) {
    if (const auto number = canonical_integer(cell.text())) return dictionary.add(*number);
  }
  return dictionary.add(std::string_view(cell.storable_text()));
}

}  // namespace pinnerformer
