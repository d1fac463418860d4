// Tables of any supported format (CSV, TSV, JSON lines, one user per line, all also compressed;
// Parquet) as a stream of typed batches. Arrow stays behind this header.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/import/input_file.h"
#include "dataloader/import/table_form.h"

namespace pinnerformer {

// One column of a batch. Text files give text only; Parquet gives what the file holds.
struct TableColumn {
  enum class Kind { kText, kInteger, kReal, kMicroseconds };
  Kind kind = Kind::kText;
  std::vector<std::string_view> texts;  // one of the three is filled, by kind
  std::vector<int64_t> integers;        // also microseconds since 1970 UTC
  std::vector<double> reals;
  double exact_below = 0x1p53;        // whole reals of at least this size may have been rounded
  std::vector<bool> null;             // empty, or one per row: the cell holds nothing
  std::shared_ptr<const void> owner;  // what the texts point into, where that is not the batch's

  [[nodiscard]] bool is_null(size_t row) const { return !null.empty() && null[row]; }
  [[nodiscard]] std::string text(size_t row) const;  // as a person would write it; "" for null
};

// Where a column of Parquet or JSON holds lists, a row of the file becomes one row per element:
// other list columns give theirs, other columns repeat their value, and a row with empty lists
// vanishes.
struct TableBatch {
  int64_t first_row = 0;  // number of its first row in the file, counted from 1 without the header
  int64_t rows = 0;
  int64_t empty_rows = 0;  // rows of the file that vanished here; also set at the end of the file
  std::vector<TableColumn> columns;   // in the order asked for
  std::shared_ptr<const void> owner;  // what the texts point into
};

struct TableField {
  std::string name;  // without blanks around it
  std::string type;  // for people: "text", "int64"
};

// Reads one file of one format. Implementations number their fields from 0.
class FormatReader {
 public:
  virtual ~FormatReader() = default;
  [[nodiscard]] virtual const std::vector<TableField>& fields() const = 0;
  // Looks for fields beyond the beginning of the file, where rows may have some that earlier rows
  // have not; those known keep their numbers. To be called before select().
  virtual void look_further() {}
  // Chooses fields, each at most once. To be called once, before next().
  virtual void select(const std::vector<size_t>& fields) = 0;
  // False at the end of the file. Throws DataError with file and row, or IoError.
  virtual bool next(TableBatch& batch) = 0;
  // How much of the file has been read, 0 to 1.
  [[nodiscard]] virtual double fraction() const = 0;
};

// Whether a key that no record of a JSON lines file has is null in all of them, not an error.
using MayLackKey = std::function<bool(const std::string& key)>;

struct WantedColumns {
  std::vector<std::string> names;
  std::string option = {};  // "--item-columns id=NAME", where it is not --columns that names them
  MayLackKey may_lack_key = {};
};

class TableReader {
 public:
  // Opens the file and finds the columns by name; one column may be asked for twice. A folder's
  // key=value counts as a column where the file has none of that name. Throws MissingInputError, or
  // DataError: no such column (with those found and the nearest one), two columns of that name, or
  // one that holds a list per row as text.
  TableReader(const InputFile& file, const TableForm& form, const WantedColumns& columns);
  // False at the end of the file. Throws DataError with file and row, or IoError.
  bool next(TableBatch& batch);
  [[nodiscard]] double fraction() const { return reader_->fraction(); }

 private:
  struct Source {
    size_t selected = 0;       // place among the fields that were selected
    bool last_use = true;      // no later source has the same place
    bool is_constant = false;  // or one value for all rows:
    std::optional<std::string> value;
  };
  void choose(const InputFile& file, const std::string& wanted, const WantedColumns& columns,
              std::vector<size_t>& selected);

  std::unique_ptr<FormatReader> reader_;
  FileForm form_;
  std::vector<Source> sources_;  // one per column asked for
};

// Whether the header, or one of the first thousand records, has a column of this name. Throws as
// the constructor of TableReader.
[[nodiscard]] bool begins_with_column(const InputFile& file, const TableForm& form,
                                      const std::string& column);
// A reader of the file's format. `header` is not kAuto.
[[nodiscard]] std::unique_ptr<FormatReader> open_format(const InputFile& file, const FileForm& form,
                                                        TableHeader header);
// Whether a header is to be expected where columns of these names are wanted. Throws DataError
// where the columns are numbers and the first row holds the same numbers, or looks like names over
// a row of data.
[[nodiscard]] TableHeader resolve_header(const InputFile& file, const TableForm& form,
                                         const std::vector<std::string>& columns);

}  // namespace pinnerformer
