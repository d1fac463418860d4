// Cells of a table as ids, times, durations and names. Every error names file, row, column, value.
// Blanks around a text are no part of it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dataloader/base/printable.h"
#include "dataloader/import/id_dictionary.h"
#include "dataloader/import/import.h"
#include "dataloader/import/table.h"

namespace pinnerformer {

// One cell with all that a message about it needs.
struct Cell {
  const TableColumn& column;
  const EventColumn& meaning;
  const std::string& path;
  size_t row;        // within the batch
  int64_t file_row;  // within the file, from 1

  // Of a column of text: without the blanks around it.
  [[nodiscard]] std::string_view text() const;
  // The same for any kind of column, as text that may be stored; "" for NaN. Throws DataError where
  // it holds a NUL byte, begins with a byte order mark, or is not UTF-8.
  [[nodiscard]] std::string storable_text() const;
  [[nodiscard]] std::string place() const;  // "events.csv, row 2 (...), column 'time'"
  [[noreturn]] void fail(const std::string& expected, const std::string& advice = "") const;
};

// Whether a text has fewer digits than the number that it stands for, as in "1.70E+12". Java's
// "1.7E9", without a plus, has them all.
[[nodiscard]] bool is_shortened_number(std::string_view text);
// Why a text cannot be stored as an id, name or title: "valid UTF-8"; nullptr where it can.
[[nodiscard]] const char* text_fault(std::string_view text);
[[nodiscard]] std::string_view trimmed(std::string_view text);  // without blanks at its ends

// Whether the cell holds one of the column's missing markers, written as in the file: "0" is not
// "0.0".
[[nodiscard]] bool is_marked_missing(const Cell& cell);
// Whether the cell holds nothing at all (empty text, null, NaN), marked or not.
[[nodiscard]] bool is_empty(const Cell& cell);

constexpr int64_t kYear1980 = 315532800;   // seconds since 1970
constexpr int64_t kYear2100 = 4102444800;  // likewise

// Microseconds since 1970; the ends of int64 stand for what does not fit. Throws DataError where
// the cell is no time.
[[nodiscard]] int64_t time_of(const Cell& cell);
// Says why a time before 1970 or after 2100 is refused.
[[noreturn]] void fail_time(const Cell& cell, int64_t microseconds);
// Whether a number is written like a date: 20240131, or 20240131235959.
[[nodiscard]] bool looks_like_date(const Cell& cell);

// Seconds, not negative.
[[nodiscard]] float duration_of(const Cell& cell);
// The number that an id is written as: "7", "7.0" (a whole number that was stored as a float).
// Nothing where the id is other text.
[[nodiscard]] std::optional<int64_t> integer_id_of(const Cell& cell);
[[nodiscard]] int64_t add_id(IdDictionary& dictionary, const Cell& cell);

}  // namespace pinnerformer
