// Attributes, strings and small arrays of HDF5 files: what is read through the library.
#include <algorithm>

#include "dataloader/base/errors.h"
#include "dataloader/hdf5/h5_file.h"
#include "dataloader/hdf5/h5_handle.h"

namespace pinnerformer {
namespace {

constexpr int64_t kStringsPerBlock = 65536;

H5Handle open_values(hid_t file, const std::string& dataset, const std::string& path) {
  const hid_t handle = H5Dopen2(file, dataset.c_str(), H5P_DEFAULT);
  if (handle < 0) {
    H5Eclear2(H5E_DEFAULT);
    throw DataError(path + ": dataset " + dataset + " is missing");
  }
  return {handle, H5Dclose};
}

H5Handle open_attribute(hid_t file, const std::string& name, const std::string& object,
                        const std::string& path) {
  if (H5Aexists_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT) <= 0) {
    throw DataError(path + ": attribute '" + name + "' of " + object +
                    " is missing; expected a file written by pinnerformer");
  }
  return h5_own(H5Aopen_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
                H5Aclose, "open attribute " + name, path);
}

// A file space that selects rows [first, first + count) of a dataset, and the memory space for it.
struct RowSelection {
  H5Handle file;
  H5Handle memory;
};

RowSelection select_rows(hid_t dataset, int64_t first, int64_t count, const std::string& path) {
  H5Handle file = h5_own(H5Dget_space(dataset), H5Sclose, "read a shape", path);
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
  const H5Handle handle = open_values(file, dataset, path);
  const RowSelection rows = select_rows(handle.get(), first, count, path);
  h5_check(H5Dread(handle.get(), memory_type, rows.memory.get(), rows.file.get(), H5P_DEFAULT, out),
           "read rows from " + std::to_string(first) + " of dataset " + dataset, path);
}

void write_all(hid_t file, const std::string& dataset, hid_t memory_type, const void* values,
               const std::string& path) {
  const H5Handle handle = open_values(file, dataset, path);
  h5_check(H5Dwrite(handle.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values),
           "write dataset " + dataset, path);
}

template <typename Element>
std::vector<Element> read_array(const H5File& source, hid_t file, const std::string& dataset,
                                ElementType type) {
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
  h5_check(H5Dread(dataset, type, rows.memory.get(), rows.file.get(), H5P_DEFAULT, text.data()),
           "read strings", path);
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    std::string_view one(text.data() + i * width, width);
    one = one.substr(0, one.find('\0'));
    visit(one);
  }
}

void visit_variable_strings(hid_t dataset, hid_t type, int64_t first, int64_t count,
                            const std::string& path,
                            const std::function<void(std::string_view)>& visit) {
  std::vector<char*> text(static_cast<size_t>(count), nullptr);
  const RowSelection rows = select_rows(dataset, first, count, path);
  h5_check(H5Dread(dataset, type, rows.memory.get(), rows.file.get(), H5P_DEFAULT, text.data()),
           "read strings", path);
  for (const char* one : text) visit(one == nullptr ? std::string_view() : std::string_view(one));
  H5Dvlen_reclaim(type, rows.memory.get(), H5P_DEFAULT, text.data());
}

}  // namespace

bool H5File::has_attribute(const std::string& name, const std::string& object) const {
  return H5Aexists_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

std::string H5File::text_attribute(const std::string& name, const std::string& object) const {
  const H5Handle attribute = open_attribute(file_, name, object, path_);
  const H5Handle stored = h5_own(H5Aget_type(attribute.get()), H5Tclose, "read attribute", path_);
  if (H5Tget_class(stored.get()) != H5T_STRING || H5Tis_variable_str(stored.get()) <= 0) {
    throw DataError(path_ + ": attribute '" + name + "': expected a variable-length string");
  }
  const H5Handle type = h5_string_type();
  char* text = nullptr;
  h5_check(H5Aread(attribute.get(), type.get(), static_cast<void*>(&text)),
           "read attribute " + name, path_);
  std::string value = text == nullptr ? "" : text;
  H5free_memory(text);
  return value;
}

int64_t H5File::integer_attribute(const std::string& name) const {
  const H5Handle attribute = open_attribute(file_, name, "/", path_);
  const H5Handle stored = h5_own(H5Aget_type(attribute.get()), H5Tclose, "read attribute", path_);
  if (H5Tget_class(stored.get()) != H5T_INTEGER) {
    throw DataError(path_ + ": attribute '" + name + "': expected an integer");
  }
  int64_t value = 0;
  h5_check(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), "read attribute " + name, path_);
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
  const H5Handle handle = open_values(file_, dataset, path_);
  const H5Handle type = h5_own(H5Dget_type(handle.get()), H5Tclose, "read a type", path_);
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
                          const std::function<void(std::string_view)>& visit) const {
  const H5Handle handle = open_values(file_, dataset, path_);
  const H5Handle stored = h5_own(H5Dget_type(handle.get()), H5Tclose, "read a type", path_);
  const bool variable = H5Tis_variable_str(stored.get()) > 0;
  const int64_t end = first + count;
  for (; first < end; first += kStringsPerBlock) {
    const auto read = variable ? visit_variable_strings : visit_fixed_strings;
    read(handle.get(), stored.get(), first, std::min(kStringsPerBlock, end - first), path_, visit);
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
  read_block(file_, dataset, first, count, H5T_NATIVE_FLOAT, out, path_);
}

void H5File::read_rows(const std::string& dataset, int64_t first, int64_t count,
                       int64_t* out) const {
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
