// Opening, attributes, and where datasets lie.
#include "dataloader/hdf5/h5_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/library_call.h"
#include "dataloader/hdf5/h5_guard.h"
#include "dataloader/hdf5/h5_handle.h"

namespace pinnerformer {
namespace {

// File locks fail on many cluster file systems and protect nothing here: files are published by
// rename and never written again.
H5Handle access_without_locks() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // errors become exceptions, not text on stderr
  H5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.get(), 0, 1);
  return access;
}

hid_t open_file(const std::string& path, unsigned flags) {
  static_cast<void>(File::open(path));  // says precisely what is wrong with the path itself
  const LibraryCall call(path);
  const H5Handle access = access_without_locks();
  const hid_t file = H5Fopen(path.c_str(), flags, access.get());
  if (file >= 0) return file;
  const std::string reason = h5_error_text();
  if (reason.find("errno = ") != std::string::npos)
    throw IoError("cannot open " + path + ": HDF5 says: " + reason);
  throw DataError("cannot open " + path + ": expected an HDF5 file; HDF5 says: " + reason +
                  ". Is it damaged or cut short?");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Of a checked dataset.
ArrayLayout describe_dataset(hid_t dataset, const std::string& path) {
  const H5Handle type = h5_own_read(H5Dget_type(dataset), H5Tclose, "read a type", path);
  const H5Handle space = h5_own_read(H5Dget_space(dataset), H5Sclose, "read a shape", path);
  std::vector<hsize_t> extent(static_cast<size_t>(H5Sget_simple_extent_ndims(space.get())));
  H5Sget_simple_extent_dims(space.get(), extent.data(), nullptr);
  ArrayLayout layout;
  layout.type = element_type(type.get());
  layout.shape.assign(extent.begin(), extent.end());
  return layout;
}

std::string expected_types(std::initializer_list<ElementType> types) {
  std::string text;
  for (const ElementType type : types)
    text += (text.empty() ? "" : " or ") + std::string(name_of(type));
  return text;
}

bool is_one_of(ElementType type, std::initializer_list<ElementType> types) {
  for (const ElementType candidate : types) {
    if (type == candidate) return true;
  }
  return false;
}

void require_contiguous(hid_t dataset, const std::string& where, const std::string& path) {
  const H5Handle create =
      h5_own_read(H5Dget_create_plist(dataset), H5Pclose, "read the layout of " + where, path);
  if (H5Pget_layout(create.get()) != H5D_CONTIGUOUS || H5Pget_nfilters(create.get()) != 0) {
    throw DataError(where + ": expected a contiguous, uncompressed dataset, found another layout");
  }
}

}  // namespace

const char* name_of(ElementType type) {
  switch (type) {
    case ElementType::kInt16:
      return "int16";
    case ElementType::kInt32:
      return "int32";
    case ElementType::kInt64:
      return "int64";
    case ElementType::kUint64:
      return "uint64";
    case ElementType::kFloat16:
      return "float16";
    case ElementType::kFloat32:
      return "float32";
    case ElementType::kFloat64:
      return "float64";
    case ElementType::kOther:
      return "another type";
  }
  throw std::logic_error("unknown element type");
}

int64_t size_of(ElementType type) { return static_cast<int64_t>(H5Tget_size(h5_type(type).get())); }

std::optional<int64_t> array_bytes(ElementType type, const std::vector<int64_t>& shape) {
  int64_t bytes = size_of(type);
  for (const int64_t extent : shape)
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) return std::nullopt;
  return bytes;
}

H5File H5File::open(const std::string& path) { return {open_file(path, H5F_ACC_RDONLY), path}; }
H5File H5File::open_for_update(const std::string& path) {
  return {open_file(path, H5F_ACC_RDWR), path};
}

H5File H5File::create(const std::string& path) {
  const H5Handle access = access_without_locks();
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get());
  return {h5_check(file, "create the file", path), path};
}

H5File::H5File(H5File&& other) noexcept
    : file_(std::exchange(other.file_, -1)), path_(std::move(other.path_)) {}

H5File& H5File::operator=(H5File&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(path_, other.path_);
  return *this;
}

H5File::~H5File() {
  const LibraryCall call(path_);
  if (file_ >= 0) H5Fclose(file_);
}

void H5File::close() {
  const hid_t file = std::exchange(file_, -1);
  if (file >= 0) h5_check(H5Fclose(file), "write what is pending", path_);
}

bool H5File::has(const std::string& dataset) const {
  const LibraryCall call(path_);
  return has_object(file_, dataset);
}

ArrayLayout H5File::describe(const std::string& dataset) const {
  const LibraryCall call(path_);
  return describe_dataset(open_checked_dataset(file_, dataset, path_).get(), path_);
}

ArrayLayout H5File::layout(const std::string& dataset, std::initializer_list<ElementType> types,
                           size_t rank) const {
  const LibraryCall call(path_);
  const std::string where = path_ + ": dataset " + dataset;
  const H5Handle handle = open_checked_dataset(file_, dataset, path_);
  ArrayLayout layout = describe_dataset(handle.get(), path_);
  if (!is_one_of(layout.type, types)) {
    throw DataError(where + ": expected " + expected_types(types) + " (little endian), found " +
                    name_of(layout.type));
  }
  if (layout.shape.size() != rank) {
    throw DataError(where + ": expected " + std::to_string(rank) + " dimensions, found shape " +
                    shape_text(layout.shape));
  }
  require_contiguous(handle.get(), where, path_);
  layout.bytes = array_bytes(layout.type, layout.shape).value();
  // open_checked_dataset() has compared it with the size of the file.
  if (layout.bytes > 0) layout.offset = static_cast<int64_t>(H5Dget_offset(handle.get()));
  return layout;
}

void H5File::define(const std::string& dataset, ElementType type,
                    const std::vector<int64_t>& shape) {
  const std::vector<hsize_t> extent(shape.begin(), shape.end());
  const std::string what = "define dataset " + dataset;
  const H5Handle space =
      h5_own(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose,
             what, path_);
  const H5Handle links = h5_own(H5Pcreate(H5P_LINK_CREATE), H5Pclose, what, path_);
  H5Pset_create_intermediate_group(links.get(), 1);
  const H5Handle create = h5_own(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, what, path_);
  H5Pset_layout(create.get(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(create.get(), H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(create.get(), H5D_FILL_TIME_NEVER);  // the file system gives zeros
  H5Pset_obj_track_times(create.get(), false);          // equal content, equal bytes
  const H5Handle made = h5_own(H5Dcreate2(file_, dataset.c_str(), h5_type(type).get(), space.get(),
                                          links.get(), create.get(), H5P_DEFAULT),
                               H5Dclose, what, path_);
}

}  // namespace pinnerformer
