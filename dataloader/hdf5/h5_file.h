// HDF5 files: only h5_*.{h,cc} know hdf5.h, and this header hides it. Large numeric datasets are
// not read through the library: it says where they lie, and the caller reads or maps the file
// there. One thread at a time may use the functions of this file.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pinnerformer {

enum class ElementType { kInt16, kInt32, kInt64, kUint64, kFloat16, kFloat32, kFloat64, kOther };

[[nodiscard]] const char* name_of(ElementType type);
[[nodiscard]] int64_t size_of(ElementType type);  // bytes

// Bytes of an array; nothing where they are more than an int64 holds.
[[nodiscard]] std::optional<int64_t> array_bytes(ElementType type,
                                                 const std::vector<int64_t>& shape);

// Where a contiguous dataset lies in its file.
struct ArrayLayout {
  ElementType type = ElementType::kOther;
  std::vector<int64_t> shape;
  int64_t offset = 0;  // bytes from the start of the file; 0 where the dataset is empty
  int64_t bytes = 0;
};

class H5File {
 public:
  // Throws MissingInputError, DataError (not HDF5, or damaged) or IoError. Every other function
  // that reads throws DataError for an object that h5_guard.h refuses.
  static H5File open(const std::string& path);
  static H5File open_for_update(const std::string& path);
  static H5File create(const std::string& path);
  H5File(H5File&& other) noexcept;
  H5File& operator=(H5File&& other) noexcept;
  ~H5File();
  // Writes what is pending; a failure (a full disk) is an IoError. The destructor is silent.
  void close();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool has(const std::string& dataset) const;

  // Attributes of the file, or of the group or dataset `object`, which must exist.
  [[nodiscard]] bool has_attribute(const std::string& name, const std::string& object = "/") const;
  [[nodiscard]] std::string text_attribute(const std::string& name,
                                           const std::string& object = "/") const;
  [[nodiscard]] int64_t integer_attribute(const std::string& name) const;
  void set_attribute(const std::string& name, const std::string& value,
                     const std::string& object = "/");
  void set_attribute(const std::string& name, int64_t value);

  // Type and shape of any numeric dataset, contiguous or not (offset and bytes stay 0).
  [[nodiscard]] ArrayLayout describe(const std::string& dataset) const;
  // Checks that the dataset has one of the types, the rank, is contiguous, unfiltered, little
  // endian, and ends before the end of the file. Throws DataError with expected and found.
  [[nodiscard]] ArrayLayout layout(const std::string& dataset,
                                   std::initializer_list<ElementType> types, size_t rank) const;
  // Makes a contiguous dataset whose content the caller writes at layout().offset after close().
  // Where nothing is written it holds zeros.
  void define(const std::string& dataset, ElementType type, const std::vector<int64_t>& shape);

  [[nodiscard]] bool holds_strings(const std::string& dataset) const;
  // Calls `visit` for each string of a one-dimensional dataset, in order; or for `count` of them.
  // Throws DataError where one is no UTF-8 or where all together are larger than the file.
  void read_strings(const std::string& dataset,
                    const std::function<void(std::string_view)>& visit) const;
  void read_strings(const std::string& dataset, int64_t first, int64_t count,
                    const std::function<void(std::string_view)>& take) const;
  void write_strings(const std::string& dataset, int64_t count,
                     const std::function<std::string(int64_t)>& text);

  // Rows [first, first + count) of a one- or two-dimensional dataset of any layout, converted by
  // the library; for files that are not ours.
  void read_rows(const std::string& dataset, int64_t first, int64_t count, float* out) const;
  void read_rows(const std::string& dataset, int64_t first, int64_t count, int64_t* out) const;

  // Small arrays of ours.
  [[nodiscard]] std::vector<int64_t> read_integers(const std::string& dataset) const;
  [[nodiscard]] std::vector<uint64_t> read_words(const std::string& dataset) const;
  void write(const std::string& dataset, const std::vector<int64_t>& values);
  void write(const std::string& dataset, const std::vector<uint64_t>& values);

 private:
  H5File(int64_t file, std::string path) : file_(file), path_(std::move(path)) {}
  int64_t file_ = -1;
  std::string path_;
};

}  // namespace pinnerformer
