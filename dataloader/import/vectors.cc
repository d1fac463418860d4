// One class per file format.
#include "dataloader/import/vectors.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/sparse_file.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/hdf5/h5_file.h"
#include "dataloader/import/cells.h"
#include "dataloader/import/npy_file.h"
#include "dataloader/import/parquet_file.h"
#include "dataloader/import/parquet_vectors.h"
#include "dataloader/import/text_stream.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRowsPerBlock = 4096;
constexpr int64_t kNumbersPerBlock = int64_t{1} << 24;

// `read_rows(first, count, out)` in blocks, one visit per row.
template <typename ReadRows>
void visit_blocks(int64_t rows, int64_t width, const ReadRows& read_rows,
                  const std::function<void(int64_t, std::span<const float>)>& visit) {
  std::vector<float> block;
  const int64_t most = std::min(kRowsPerBlock, kNumbersPerBlock / width);
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t count = std::min(most, rows - first);
    block.resize(static_cast<size_t>(count * width));
    read_rows(first, count, block.data());
    for (int64_t i = 0; i < count; ++i) {
      visit(first + i,
            std::span(block).subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)));
    }
  }
}

void check_width(const std::string& where, int64_t width) {
  if (width >= 1 && width <= kWidestVector) return;
  throw DataError(where + ": expected vectors of 1 to " + std::to_string(kWidestVector) +
                  " numbers, found " + std::to_string(width));
}

void check_matrix(const std::string& where, const std::vector<int64_t>& shape) {
  if (shape.size() != 2) {
    throw DataError(where + ": expected a matrix of one vector per row, found " +
                    std::to_string(shape.size()) + " dimensions");
  }
  check_width(where, shape[1]);
}

void check_count(const std::string& where, int64_t ids, int64_t rows) {
  if (ids == rows) return;
  throw DataError(where + ": expected one id per vector: " + std::to_string(rows) +
                  " vectors, found " + std::to_string(ids) + " ids");
}

// An id that is text. `where` and `number` say where it stands.
int64_t add_text_id(IdDictionary& items, std::string_view text, const std::string& where,
                    int64_t number) {
  const std::string_view id = trimmed(text);
  const char* expected = id.empty() ? "an item id" : text_fault(id);
  if (expected == nullptr) return items.add(id);
  throw DataError(where + std::to_string(number) + ": expected " + expected + ", found '" +
                  printable(text) + "'");
}

class H5Vectors : public VectorSource {
 public:
  explicit H5Vectors(const ImportOptions& options)
      : VectorSource(options.vectors),
        ids_(options.vector_id_column),
        values_(options.vector_value_column),
        file_(H5File::open(options.vectors)) {
    for (const std::string& name : {ids_, values_})
      if (!file_.has(name))
        throw DataError(path() + ": dataset " + name +
                        " is missing; --vector-columns id=NAME,vector=NAME names other ones");
    shape_ = file_.describe(values_).shape;
    check_matrix(path() + ": dataset " + values_, shape_);
  }
  [[nodiscard]] int64_t width() const override { return shape_[1]; }
  [[nodiscard]] std::vector<int64_t> add_ids(IdDictionary& items) const override {
    std::vector<int64_t> rows;
    if (file_.holds_strings(ids_)) {
      file_.read_strings(ids_, [&](std::string_view id) {
        rows.push_back(
            add_text_id(items, id, path() + ": dataset " + ids_ + ", row ", std::ssize(rows) + 1));
      });
    } else {
      const ArrayLayout layout = file_.describe(ids_);
      if (layout.shape.size() != 1 || layout.type == ElementType::kFloat16 ||
          layout.type == ElementType::kFloat32 || layout.type == ElementType::kFloat64) {
        throw DataError(path() + ": dataset " + ids_ + ": expected a list of integers or strings");
      }
      std::vector<int64_t> numbers(static_cast<size_t>(layout.shape[0]));
      file_.read_rows(ids_, 0, layout.shape[0], numbers.data());
      for (const int64_t id : numbers) {
        // What the library makes of larger numbers; of big-endian ones it makes negative ones.
        const bool is_clipped =
            id == std::numeric_limits<int64_t>::max() && layout.type != ElementType::kInt64;
        if (is_clipped || (id < 0 && layout.type == ElementType::kOther)) {
          throw DataError(path() + ": dataset " + ids_ + ", row " +
                          std::to_string(std::ssize(rows) + 1) +
                          ": expected an id below 2^63, found a larger one (or a negative one of a "
                          "type that is not int64); store ids as strings or as int64");
        }
        rows.push_back(items.add(id));
      }
    }
    check_count(path(), static_cast<int64_t>(rows.size()), shape_[0]);
    return rows;
  }
  void read(const std::function<void(int64_t, std::span<const float>)>& visit) const override {
    const auto read_rows = [this](int64_t first, int64_t count, float* out) {
      file_.read_rows(values_, first, count, out);
    };
    visit_blocks(shape_[0], shape_[1], read_rows, visit);
  }

 private:
  std::string ids_;
  std::string values_;
  H5File file_;
  std::vector<int64_t> shape_;
};

class NpyVectors : public VectorSource {
 public:
  explicit NpyVectors(const ImportOptions& options)
      : VectorSource(options.vectors), ids_(options.vector_ids), file_(options.vectors) {
    check_matrix(path(), file_.shape());
    if (ids_.empty()) {
      throw DataError(path() +
                      ": a .npy file has no ids; --vector-ids names a file with one item "
                      "id per line, in the order of the rows");
    }
  }
  [[nodiscard]] int64_t width() const override { return file_.shape()[1]; }
  [[nodiscard]] std::vector<int64_t> add_ids(IdDictionary& items) const override {
    std::vector<int64_t> rows;
    require_regular_file(ids_);
    if (ids_.ends_with(".npy")) {
      for (const int64_t id : NpyFile(ids_).read_integers()) rows.push_back(items.add(id));
    } else {
      const InputFile file = InputFile::plain(ids_);
      const TextStream stream(file, Compression::kNone);  // skips a byte order mark
      LineReader lines(stream.bytes(), ids_);
      for (std::string line; lines.next(line);) {
        rows.push_back(add_text_id(items, line, ids_ + ", line ", lines.number()));
      }
    }
    check_count(ids_, static_cast<int64_t>(rows.size()), file_.shape()[0]);
    return rows;
  }
  void read(const std::function<void(int64_t, std::span<const float>)>& visit) const override {
    const auto read_rows = [this](int64_t first, int64_t count, float* out) {
      file_.read_rows(first, count, out);
    };
    visit_blocks(file_.shape()[0], file_.shape()[1], read_rows, visit);
  }

 private:
  std::string ids_;
  NpyFile file_;
};

class ParquetVectors : public VectorSource {
 public:
  explicit ParquetVectors(const ImportOptions& options)
      : VectorSource(options.vectors),
        ids_{options.vector_id_column, {}, {}},
        values_(options.vector_value_column) {
    read_parquet_vectors(path(), values_, [this](int64_t, const std::vector<float>& values) {
      width_ = static_cast<int64_t>(values.size());
      return false;
    });
    if (width_ == 0) throw DataError(path() + ", column '" + values_ + "': the first row is empty");
    check_width(path() + ", column '" + values_ + "'", width_);
  }
  [[nodiscard]] int64_t width() const override { return width_; }
  [[nodiscard]] std::vector<int64_t> add_ids(IdDictionary& items) const override {
    std::vector<int64_t> rows;
    TableReader table(
        InputFile::plain(path()),
        {.format = TableFormat::kParquet, .delimiter = "", .header = TableHeader::kNames},
        {{ids_.name}, "--vector-columns id=NAME,vector=NAME"});
    TableBatch batch;
    while (table.next(batch)) {
      for (int64_t i = 0; i < batch.rows; ++i) {
        const Cell cell{batch.columns[0], ids_, path(), static_cast<size_t>(i),
                        batch.first_row + i};
        if (is_empty(cell)) cell.fail("an item id");
        rows.push_back(add_id(items, cell));
      }
    }
    // A column of lists gives as many ids as the lists have.
    check_count(path() + ", column '" + ids_.name + "'", std::ssize(rows),
                ParquetFile(path(), path()).rows());
    return rows;
  }
  void read(const std::function<void(int64_t, std::span<const float>)>& visit) const override {
    read_parquet_vectors(path(), values_, [&](int64_t row, const std::vector<float>& values) {
      if (static_cast<int64_t>(values.size()) != width_) {
        throw DataError(path() + ", column '" + values_ + "', row " + std::to_string(row + 1) +
                        ": expected " + std::to_string(width_) +
                        " numbers, as in the first row, found " + std::to_string(values.size()));
      }
      visit(row, values);
      return true;
    });
  }

 private:
  EventColumn ids_;
  std::string values_;
  int64_t width_ = 0;
};

}  // namespace

std::unique_ptr<VectorSource> VectorSource::open(const ImportOptions& options) {
  const std::string& path = options.vectors;
  require_regular_file(path);
  const File file = File::open(path);
  if (file.size() == 0) throw DataError(path + " is empty");
  require_written(file);
  std::string magic(static_cast<size_t>(std::min<int64_t>(file.size(), 8)), '\0');
  file.read_at(0, magic.data(), std::ssize(magic));
  const auto ends_with = [&](const char* ending) { return path.ends_with(ending); };
  const bool is_npy = magic.starts_with("\x93NUMPY");
  const bool is_hdf5 = magic.starts_with("\x89HDF\r\n\x1a\n");
  const bool is_parquet = magic.starts_with("PAR1");
  const bool is_known = is_npy || is_hdf5 || is_parquet;  // else the reader says what is wrong
  if (is_npy || (!is_known && ends_with(".npy"))) return std::make_unique<NpyVectors>(options);
  if (is_known && !options.vector_ids.empty()) {
    throw DataError(path + " holds the ids of its vectors, '" + options.vector_id_column +
                    "'; --vector-ids goes with a .npy file: leave it out");
  }
  if (is_hdf5 || (!is_known && (ends_with(".h5") || ends_with(".hdf5")))) {
    return std::make_unique<H5Vectors>(options);
  }
  if (is_parquet || (!is_known && ends_with(".parquet"))) {
    return std::make_unique<ParquetVectors>(options);
  }
  require_text(path, magic);  // names other formats
  throw DataError("cannot tell the format of " + path +
                  " from its content: expected a .npy, HDF5 or Parquet file");
}

}  // namespace pinnerformer
