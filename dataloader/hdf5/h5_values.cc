// Attributes, strings and small arrays of HDF5 files: what is read through the library.
#include <algorithm>
#include <memory>
#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/base/library_call.h"
#include "dataloader/base/printable.h"
#include "dataloader/hdf5/h5_file.h"
#include "dataloader/hdf5/h5_guard.h"
#include "dataloader/hdf5/h5_handle.h"
#include "dataloader/hdf5/h5_heap.h"

namespace pinnerformer {
namespace {

constexpr int64_t kStringsPerBlock = 65536;

// Memory for the strings of one read, freed as a whole. The library asks for it string by string,
// and a file may name the same stored string many times: `left` bounds the sum.
class StringArena {
 public:
  explicit StringArena(int64_t* left) : left_(left) {}

  // Of the library: nullptr makes it end the read.
  static void* allocate(size_t bytes, void* arena) {
    return static_cast<StringArena*>(arena)->take(bytes);
  }
  static void release(void*, void*) {}
  [[nodiscard]] bool exhausted() const { return *left_ < 0; }

 private:
  static constexpr size_t kBlockBytes = size_t{1} << 20;

  void* take(size_t bytes) {
    if (*left_ < 0 || bytes > static_cast<size_t>(*left_)) {
      *left_ = -1;
      return nullptr;
    }
    *left_ -= static_cast<int64_t>(bytes);
    if (bytes > free_) {
      free_ = std::max(bytes, kBlockBytes);
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(free_));
      next_ = blocks_.back().get();
    }
    free_ -= bytes;
    return std::exchange(next_, next_ + bytes);
  }

  int64_t* left_;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* next_ = nullptr;
  size_t free_ = 0;
};

// A file space that selects rows [first, first + count) of a dataset, and the memory space for it.
struct RowSelection {
  H5Handle file;
  H5Handle memory;
};

RowSelection select_rows(hid_t dataset, int64_t first, int64_t count, const std::string& path) {
  H5Handle file = h5_own_read(H5Dget_space(dataset), H5Sclose, "read a shape", path);
  const auto rank = static_cast<size_t>(std::max(H5Sget_simple_extent_ndims(file.get()), 1));
  std::vector<hsize_t> extent(rank);
  H5Sget_simple_extent_dims(file.get(), extent.data(), nullptr);
  std::vector<hsize_t> start(rank, 0);
  start[0] = static_cast<hsize_t>(first);
  extent[0] = static_cast<hsize_t>(count);
  h5_check(H5Sselect_hyperslab(file.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(),
                               nullptr),
           "select rows", path);
  H5Handle memory = h5_own(H5Screate_simple(static_cast<int>(rank), extent.data(), nullptr),
                           H5Sclose, "select rows", path);
  return {std::move(file), std::move(memory)};
}

void read_block(hid_t file, const std::string& dataset, int64_t first, int64_t count,
                hid_t memory_type, void* out, const std::string& path) {
  const H5Handle handle = open_checked_dataset(file, dataset, path);
  const RowSelection rows = select_rows(handle.get(), first, count, path);
  h5_check_read(
      H5Dread(handle.get(), memory_type, rows.memory.get(), rows.file.get(), H5P_DEFAULT, out),
      "read rows from " + std::to_string(first) + " of dataset " + dataset, path);
}

void write_all(hid_t file, const std::string& dataset, hid_t memory_type, const void* values,
               const std::string& path) {
  const H5Handle handle = open_checked_dataset(file, dataset, path);
  h5_check(H5Dwrite(handle.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values),
           "write dataset " + dataset, path);
}

template <typename Element>
std::vector<Element> read_array(const H5File& source, hid_t file, const std::string& dataset,
                                ElementType type) {
  const LibraryCall call(source.path());
  const ArrayLayout layout = source.layout(dataset, {type}, 1);
  std::vector<Element> values(static_cast<size_t>(layout.shape[0]));
  if (!values.empty()) {
    read_block(file, dataset, 0, layout.shape[0], h5_type(type).get(), values.data(),
               source.path());
  }
  return values;
}

// Fixed-length strings are padded with zeros or blanks; the library cannot convert them to
// variable-length ones, so they are read as they are and cut.
void visit_fixed_strings(hid_t dataset, hid_t type, int64_t first, int64_t count,
                         const std::string& path,
                         const std::function<void(std::string_view)>& visit) {
  const size_t width = H5Tget_size(type);
  std::vector<char> text(width * static_cast<size_t>(count));
  const RowSelection rows = select_rows(dataset, first, count, path);
  h5_check_read(
      H5Dread(dataset, type, rows.memory.get(), rows.file.get(), H5P_DEFAULT, text.data()),
      "read strings", path);
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const std::string_view one(text.data() + i * width, width);
    visit(one.substr(0, one.find('\0')));
  }
}

// `left`: how many bytes the strings may still take, each with a byte at its end.
void visit_variable_strings(hid_t dataset, hid_t type, int64_t first, int64_t count, int64_t* left,
                            const std::string& path,
                            const std::function<void(std::string_view)>& visit) {
  std::vector<char*> text(static_cast<size_t>(count), nullptr);
  StringArena arena(left);
  const H5Handle transfer = h5_own(H5Pcreate(H5P_DATASET_XFER), H5Pclose, "read strings", path);
  H5Pset_vlen_mem_manager(transfer.get(), StringArena::allocate, &arena, StringArena::release,
                          &arena);
  const RowSelection rows = select_rows(dataset, first, count, path);
  const herr_t status =
      H5Dread(dataset, type, rows.memory.get(), rows.file.get(), transfer.get(), text.data());
  if (arena.exhausted()) {
    H5Eclear2(H5E_DEFAULT);
    throw DataError(path +
                    ": expected strings that take no more than the file, found that rows "
                    "from " +
                    std::to_string(first) + " on name the same content many times");
  }
  h5_check_read(status, "read strings", path);
  for (const char* one : text) visit(one == nullptr ? std::string_view() : std::string_view(one));
}

// Strings that lie where H5Heap finds them, as in all files of ours.
void visit_heap_strings(hid_t dataset, int64_t first, int64_t count, const std::string& path,
                        const std::function<void(std::string_view)>& visit) {
  if (count == 0) return;
  H5Heap heap(path);
  const auto offset = static_cast<int64_t>(H5Dget_offset(dataset));
  for (const int64_t end = first + count; first < end; first += kStringsPerBlock) {
    const std::string rows =
        heap.references(offset, first, std::min(kStringsPerBlock, end - first));
    for (size_t at = 0; at < rows.size(); at += H5Heap::kReferenceBytes)
      visit(heap.string_of(rows.data() + at));
  }
}

// Rows of a block of fixed-length strings: 16 MiB of them, at least one.
int64_t rows_per_block(hid_t type) {
  constexpr int64_t kBlockBytes = int64_t{16} << 20;
  const auto width = static_cast<int64_t>(H5Tget_size(type));
  return std::clamp(kBlockBytes / std::max<int64_t>(width, 1), int64_t{1}, kStringsPerBlock);
}

}  // namespace

bool H5File::has_attribute(const std::string& name, const std::string& object) const {
  const LibraryCall call(path_);
  check_links(file_, object, path_);
  return H5Aexists_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

std::string H5File::text_attribute(const std::string& name, const std::string& object) const {
  const LibraryCall call(path_);
  const H5Handle attribute = open_checked_attribute(file_, name, object, H5T_STRING, path_);
  const H5Handle type = h5_string_type();
  char* text = nullptr;
  h5_check_read(H5Aread(attribute.get(), type.get(), static_cast<void*>(&text)),
                "read attribute " + name, path_);
  std::string value = text == nullptr ? "" : text;
  H5free_memory(text);
  return value;
}

int64_t H5File::integer_attribute(const std::string& name) const {
  const LibraryCall call(path_);
  const H5Handle attribute = open_checked_attribute(file_, name, "/", H5T_INTEGER, path_);
  int64_t value = 0;
  h5_check_read(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), "read attribute " + name,
                path_);
  return value;
}

void H5File::set_attribute(const std::string& name, const std::string& value,
                           const std::string& object) {
  const std::string what = "write attribute " + name;
  const H5Handle space = h5_own(H5Screate(H5S_SCALAR), H5Sclose, what, path_);
  const H5Handle type = h5_string_type();
  const H5Handle attribute =
      h5_own(H5Acreate_by_name(file_, object.c_str(), name.c_str(), type.get(), space.get(),
                               H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
             H5Aclose, what, path_);
  const char* text = value.c_str();
  h5_check(H5Awrite(attribute.get(), type.get(), static_cast<const void*>(&text)), what, path_);
}

void H5File::set_attribute(const std::string& name, int64_t value) {
  const std::string what = "write attribute " + name;
  const H5Handle space = h5_own(H5Screate(H5S_SCALAR), H5Sclose, what, path_);
  const H5Handle attribute =
      h5_own(H5Acreate2(file_, name.c_str(), H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
             H5Aclose, what, path_);
  h5_check(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value), what, path_);
}

bool H5File::holds_strings(const std::string& dataset) const {
  const LibraryCall call(path_);
  const H5Handle handle = open_checked_dataset(file_, dataset, path_);
  const H5Handle type = h5_own_read(H5Dget_type(handle.get()), H5Tclose, "read a type", path_);
  return H5Tget_class(type.get()) == H5T_STRING;
}

void H5File::read_strings(const std::string& dataset,
                          const std::function<void(std::string_view)>& visit) const {
  if (!holds_strings(dataset)) {
    throw DataError(path_ + ": dataset " + dataset + ": expected strings, found " +
                    name_of(describe(dataset).type));
  }
  const ArrayLayout layout = describe(dataset);
  if (layout.shape.size() != 1)
    throw DataError(path_ + ": dataset " + dataset + ": expected one dimension");
  read_strings(dataset, 0, layout.shape[0], visit);
}

void H5File::read_strings(const std::string& dataset, int64_t first, int64_t count,
                          const std::function<void(std::string_view)>& take) const {
  const LibraryCall call(path_);
  const H5Handle handle = open_checked_dataset(file_, dataset, path_);
  int64_t row = first;
  const auto visit = [&](std::string_view text) {
    if (!is_utf8(text))
      throw DataError(path_ + ": dataset " + dataset + ", row " + std::to_string(row) +
                      ": expected text in UTF-8, found '" + printable(text) + "'");
    ++row;
    take(text);
  };
  const H5Handle stored = h5_own_read(H5Dget_type(handle.get()), H5Tclose, "read a type", path_);
  const bool variable = H5Tis_variable_str(stored.get()) > 0;
  if (variable && has_plain_references(file_, handle.get()))
    return visit_heap_strings(handle.get(), first, count, path_, visit);
  const int64_t end = first + count;
  const int64_t rows = variable ? kStringsPerBlock : rows_per_block(stored.get());
  // Every string lies in the file once.
  int64_t left = variable ? file_bytes(file_, path_) + count : 0;
  for (; first < end; first += rows) {
    const int64_t block = std::min(rows, end - first);
    if (variable) {
      visit_variable_strings(handle.get(), stored.get(), first, block, &left, path_, visit);
    } else {
      visit_fixed_strings(handle.get(), stored.get(), first, block, path_, visit);
    }
  }
}

void H5File::write_strings(const std::string& dataset, int64_t count,
                           const std::function<std::string(int64_t)>& text) {
  const std::string what = "write dataset " + dataset;
  const auto extent = static_cast<hsize_t>(count);
  const H5Handle space = h5_own(H5Screate_simple(1, &extent, nullptr), H5Sclose, what, path_);
  const H5Handle links = h5_own(H5Pcreate(H5P_LINK_CREATE), H5Pclose, what, path_);
  H5Pset_create_intermediate_group(links.get(), 1);
  const H5Handle create = h5_own(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, what, path_);
  H5Pset_obj_track_times(create.get(), false);
  const H5Handle type = h5_string_type();
  const H5Handle made = h5_own(H5Dcreate2(file_, dataset.c_str(), type.get(), space.get(),
                                          links.get(), create.get(), H5P_DEFAULT),
                               H5Dclose, what, path_);
  for (int64_t first = 0; first < count; first += kStringsPerBlock) {
    std::vector<std::string> block;
    for (int64_t i = first; i < std::min(count, first + kStringsPerBlock); ++i)
      block.push_back(text(i));
    std::vector<const char*> pointers;
    for (const std::string& one : block) pointers.push_back(one.c_str());
    const RowSelection rows =
        select_rows(made.get(), first, static_cast<int64_t>(block.size()), path_);
    h5_check(H5Dwrite(made.get(), type.get(), rows.memory.get(), rows.file.get(), H5P_DEFAULT,
                      pointers.data()),
             what, path_);
  }
}

void H5File::read_rows(const std::string& dataset, int64_t first, int64_t count, float* out) const {
  const LibraryCall call(path_);
  read_block(file_, dataset, first, count, H5T_NATIVE_FLOAT, out, path_);
}

void H5File::read_rows(const std::string& dataset, int64_t first, int64_t count,
                       int64_t* out) const {
  const LibraryCall call(path_);
  read_block(file_, dataset, first, count, H5T_NATIVE_INT64, out, path_);
}

std::vector<int64_t> H5File::read_integers(const std::string& dataset) const {
  return read_array<int64_t>(*this, file_, dataset, ElementType::kInt64);
}

std::vector<uint64_t> H5File::read_words(const std::string& dataset) const {
  return read_array<uint64_t>(*this, file_, dataset, ElementType::kUint64);
}

void H5File::write(const std::string& dataset, const std::vector<int64_t>& values) {
  define(dataset, ElementType::kInt64, {static_cast<int64_t>(values.size())});
  if (!values.empty()) write_all(file_, dataset, H5T_NATIVE_INT64, values.data(), path_);
}

void H5File::write(const std::string& dataset, const std::vector<uint64_t>& values) {
  define(dataset, ElementType::kUint64, {static_cast<int64_t>(values.size())});
  if (!values.empty()) write_all(file_, dataset, H5T_NATIVE_UINT64, values.data(), path_);
}

}  // namespace pinnerformer
