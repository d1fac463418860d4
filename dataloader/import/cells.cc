// Parsing of single cells.
#include "dataloader/import/cells.h"

#include <arrow/util/value_parsing.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

constexpr double kSecondsUntil2100 = 4102444800.0;

double units_per_second(TimeUnit unit) {
  switch (unit) {
    case TimeUnit::kSeconds:
      return 1.0;
    case TimeUnit::kMilliseconds:
      return 1e3;
    case TimeUnit::kMicroseconds:
      return 1e6;
    case TimeUnit::kIso:
      break;
  }
  throw std::logic_error("this unit is not a number");
}

double real_of(const Cell& cell) {
  switch (cell.column.kind) {
    case TableColumn::Kind::kInteger:
      return static_cast<double>(cell.column.integers[cell.row]);
    case TableColumn::Kind::kReal:
      return cell.column.reals[cell.row];
    case TableColumn::Kind::kText: {
      const std::string_view text = cell.column.texts[cell.row];
      double value = 0;
      const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
      if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return value;
      cell.fail("a number");
    }
    case TableColumn::Kind::kMicroseconds:
      cell.fail("a number", "; it is a timestamp");
  }
  throw std::logic_error("unknown kind of column");
}

// Whole numbers are scaled as integers: a double has too few digits for microseconds of today
// times a unit.
int64_t microseconds_of_number(const Cell& cell) {
  const auto per_second = static_cast<int64_t>(units_per_second(cell.meaning.unit));
  std::optional<int64_t> whole;
  if (cell.column.kind == TableColumn::Kind::kInteger) whole = cell.column.integers[cell.row];
  if (cell.column.kind == TableColumn::Kind::kText) {
    whole = canonical_integer(cell.column.texts[cell.row]);
  }
  const double seconds =
      (whole ? static_cast<double>(*whole) : real_of(cell)) / static_cast<double>(per_second);
  if (!(seconds >= 0)) cell.fail("a time since 1970");
  if (seconds >= kSecondsUntil2100) {
    cell.fail("a time before 2100", cell.meaning.unit == TimeUnit::kMicroseconds
                                        ? ""
                                        : "; is it in a smaller unit? time=" + cell.meaning.name +
                                              ":ms says milliseconds, :us microseconds");
  }
  return whole ? *whole * (1000000 / per_second) : std::llround(seconds * 1e6);
}

int64_t microseconds_of_text(const Cell& cell) {
  std::string text = cell.column.text(cell.row);
  if (text.ends_with('Z')) text.pop_back();
  int64_t value = 0;
  bool has_offset = false;
  if (!arrow::internal::ParseTimestampISO8601(text.data(), text.size(), arrow::TimeUnit::MICRO,
                                              &value, &has_offset) ||
      has_offset) {
    cell.fail("a time such as 2024-05-31 23:59:59 (UTC)");
  }
  return value;
}

}  // namespace

void Cell::fail(const std::string& expected, const std::string& advice) const {
  throw DataError(path + ", row " + std::to_string(file_row) +
                  " (not counting the header), column '" + meaning.name + "': expected " +
                  expected + ", found '" + column.text(row) + "'" + advice);
}

bool is_marked_missing(const Cell& cell) {
  if (cell.meaning.missing.empty()) return false;
  const std::string text = cell.column.text(cell.row);
  return std::find(cell.meaning.missing.begin(), cell.meaning.missing.end(), text) !=
         cell.meaning.missing.end();
}

bool is_empty(const Cell& cell) {
  if (cell.column.is_null(cell.row)) return true;
  if (cell.column.kind == TableColumn::Kind::kText) return cell.column.texts[cell.row].empty();
  return cell.column.kind == TableColumn::Kind::kReal && std::isnan(cell.column.reals[cell.row]);
}

int64_t time_of(const Cell& cell) {
  const bool is_timestamp = cell.column.kind == TableColumn::Kind::kMicroseconds;
  if (!is_timestamp && cell.meaning.unit != TimeUnit::kIso) return microseconds_of_number(cell);
  const int64_t value = is_timestamp ? cell.column.integers[cell.row] : microseconds_of_text(cell);
  if (value < 0) cell.fail("a time since 1970");
  if (static_cast<double>(value) >= kSecondsUntil2100 * 1e6) cell.fail("a time before 2100");
  return value;
}

float duration_of(const Cell& cell) {
  const double seconds = real_of(cell) / units_per_second(cell.meaning.unit);
  if (!(seconds >= 0) || std::isinf(seconds)) {
    cell.fail("a duration of 0 or more", "; --missing duration=" + cell.column.text(cell.row) +
                                             " says that this stands for unknown");
  }
  return static_cast<float>(seconds);
}

std::optional<int64_t> integer_id_of(const Cell& cell) {
  switch (cell.column.kind) {
    case TableColumn::Kind::kInteger:
      return cell.column.integers[cell.row];
    case TableColumn::Kind::kText:
      return canonical_integer(cell.column.texts[cell.row]);
    case TableColumn::Kind::kReal:
    case TableColumn::Kind::kMicroseconds:
      cell.fail("whole numbers or strings as ids");
  }
  throw std::logic_error("unknown kind of column");
}

int64_t add_id(IdDictionary& dictionary, const Cell& cell) {
  if (const auto number = integer_id_of(cell)) return dictionary.add(*number);
  return dictionary.add(cell.column.texts[cell.row]);
}

}  // namespace pinnerformer
