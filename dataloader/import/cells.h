// Cells of a table as ids, times, durations and names. Every error names file, row, column, value.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "dataloader/import/id_dictionary.h"
#include "dataloader/import/import.h"

namespace pinnerformer {

// One cell with all that a message about it needs.
struct Cell {
  const TableColumn& column;
  const EventColumn& meaning;
  const std::string& path;
  size_t row;        // within the batch
  int64_t file_row;  // within the file, from 1

  [[noreturn]] void fail(const std::string& expected, const std::string& advice = "") const;
};

// Whether the cell holds one of the column's missing markers. Numbers compare by value.
[[nodiscard]] bool is_marked_missing(const Cell& cell);
// Whether the cell holds nothing at all (empty text, null, NaN), marked or not.
[[nodiscard]] bool is_empty(const Cell& cell);

// Microseconds since 1970. Throws DataError before 1970 and after 2100.
[[nodiscard]] int64_t time_of(const Cell& cell);
// Seconds, not negative.
[[nodiscard]] float duration_of(const Cell& cell);
// Nothing where the id is text that is not written like an integer.
[[nodiscard]] std::optional<int64_t> integer_id_of(const Cell& cell);
[[nodiscard]] int64_t add_id(IdDictionary& dictionary, const Cell& cell);

}  // namespace pinnerformer
