// Tables of any supported format (CSV, TSV, both also .gz; Parquet) as a stream of typed batches.
// Arrow stays behind this header.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pinnerformer {

// One column of a batch. Text files give text only; Parquet gives what the file holds.
struct TableColumn {
  enum class Kind { kText, kInteger, kReal, kMicroseconds };
  Kind kind = Kind::kText;
  std::vector<std::string_view> texts;  // one of the three is filled, by kind
  std::vector<int64_t> integers;        // also microseconds since 1970 UTC
  std::vector<double> reals;
  std::vector<bool> null;  // empty, or one per row: the cell holds nothing

  [[nodiscard]] bool is_null(size_t row) const { return !null.empty() && null[row]; }
  [[nodiscard]] std::string text(size_t row) const;  // as a person would write it; "" for null
};

// Where a Parquet column holds lists, a row of the file becomes one row per element: other list
// columns give theirs, other columns repeat their value, and a row with empty lists vanishes.
struct TableBatch {
  int64_t first_row = 0;  // number of its first row in the file, counted from 1 without the header
  int64_t rows = 0;
  std::vector<TableColumn> columns;   // in the order asked for
  std::shared_ptr<const void> owner;  // what the texts point into
};

enum class TableFormat { kByName, kCsv, kTsv, kParquet };

// kCsv etc. from a file name such as "events.tsv.gz". Throws DataError where the name says nothing.
[[nodiscard]] TableFormat table_format_of(const std::string& path);

class TableReader {
 public:
  // Opens the file and finds `columns` by name. Throws MissingInputError, or DataError naming the
  // columns found and the nearest one.
  static std::unique_ptr<TableReader> open(const std::string& path, TableFormat format,
                                           const std::vector<std::string>& columns);
  virtual ~TableReader() = default;
  // False at the end of the file. Throws DataError with file and row, or IoError.
  virtual bool next(TableBatch& batch) = 0;
  // How much of the file has been read, 0 to 1.
  [[nodiscard]] virtual double fraction() const = 0;
};

// Throws DataError unless every name of `wanted` is among `found`.
void require_columns(const std::string& path, const std::vector<std::string>& found,
                     const std::vector<std::string>& wanted);

}  // namespace pinnerformer
