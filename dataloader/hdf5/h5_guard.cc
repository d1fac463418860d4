#include "dataloader/hdf5/h5_guard.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

// The library reads a compressed chunk whole.
constexpr int64_t kMostChunkBytes = int64_t{512} << 20;
constexpr int64_t kLongestFixedString = int64_t{1} << 20;
// Bytes that compressed content may claim for every byte in the file; small datasets may claim
// kFreeBytes. Real vectors and ids are far below.
constexpr int64_t kMostExpansion = 256;
constexpr int64_t kFreeBytes = int64_t{64} << 20;
constexpr int kMostDimensions = 4;
constexpr int64_t kReferenceBytes = 16;  // of a string of variable length

// "/a/b" -> "/a", "/a/b".
std::vector<std::string> prefixes_of(const std::string& name) {
  std::vector<std::string> prefixes;
  for (size_t slash = name.find('/', 1); slash != std::string::npos;
       slash = name.find('/', slash + 1))
    if (name[slash - 1] != '/') prefixes.push_back(name.substr(0, slash));
  if (!name.empty() && name.back() != '/') prefixes.push_back(name);
  return prefixes;
}

const char* name_of_class(H5T_class_t type_class) {
  switch (type_class) {
    case H5T_INTEGER:
      return "integers of an unusual form";
    case H5T_FLOAT:
      return "floats of an unusual form";
    case H5T_STRING:
      return "strings";
    case H5T_COMPOUND:
      return "a compound type";
    case H5T_REFERENCE:
      return "references";
    case H5T_ENUM:
      return "an enumeration (booleans, for example)";
    case H5T_VLEN:
      return "lists of variable length";
    case H5T_ARRAY:
      return "an array type";
    default:
      return "another type";
  }
}

// Every bit of the element is part of its value, as in memory.
bool is_standard_integer(hid_t type) {
  const size_t size = H5Tget_size(type);
  return (size == 1 || size == 2 || size == 4 || size == 8) && H5Tget_precision(type) == 8 * size &&
         H5Tget_offset(type) == 0;
}

bool is_standard_float(hid_t type) {
  const H5T_order_t order = H5Tget_order(type);
  if (order != H5T_ORDER_LE && order != H5T_ORDER_BE) return false;
  return std::ranges::any_of(
      std::array{ElementType::kFloat16, ElementType::kFloat32, ElementType::kFloat64},
      [&](ElementType candidate) {
        const H5Handle same = h5_type(candidate);
        H5Tset_order(same.get(), order);
        return H5Tequal(type, same.get()) > 0;
      });
}

// One dataset while it is checked.
struct Candidate {
  hid_t dataset;
  std::string where;
  int64_t file_bytes;
};

[[noreturn]] void refuse(const Candidate& candidate, const std::string& fault) {
  throw DataError(candidate.where + ": " + fault);
}

// Bytes of an element in the file.
int64_t check_type(const Candidate& candidate) {
  const H5Handle type = h5_own_read(H5Dget_type(candidate.dataset), H5Tclose,
                                    "read the type of " + candidate.where, "");
  const H5T_class_t found = H5Tget_class(type.get());
  const auto size = static_cast<int64_t>(H5Tget_size(type.get()));
  if (H5Tis_variable_str(type.get()) > 0) return kReferenceBytes;
  if (found == H5T_STRING) {
    if (size > kLongestFixedString)
      refuse(candidate, "expected strings of at most " + std::to_string(kLongestFixedString) +
                            " bytes, found strings of " + std::to_string(size));
    return size;
  }
  const bool is_number = (found == H5T_INTEGER && is_standard_integer(type.get())) ||
                         (found == H5T_FLOAT && is_standard_float(type.get()));
  if (!is_number)
    refuse(candidate, std::string("expected integers or floats of up to 64 bits, or strings, "
                                  "found ") +
                          name_of_class(found));
  return size;
}

std::vector<int64_t> check_shape(const Candidate& candidate) {
  const H5Handle space = h5_own_read(H5Dget_space(candidate.dataset), H5Sclose,
                                     "read the shape of " + candidate.where, "");
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (H5Sget_simple_extent_type(space.get()) != H5S_SIMPLE || rank < 1 || rank > kMostDimensions)
    refuse(candidate, "expected 1 to " + std::to_string(kMostDimensions) +
                          " dimensions, found a single value, none, or more dimensions");
  std::array<hsize_t, kMostDimensions> extent{};
  H5Sget_simple_extent_dims(space.get(), extent.data(), nullptr);
  return {extent.begin(), extent.begin() + rank};
}

int64_t claimed_bytes(const Candidate& candidate, int64_t element,
                      const std::vector<int64_t>& shape) {
  for (const int64_t extent : shape)
    if (extent < 0 || __builtin_mul_overflow(element, extent, &element))
      refuse(candidate, "claims more bytes than a file can have");
  return element;
}

// Contiguous: the place is known, and the content is as large as it claims.
void check_contiguous(const Candidate& candidate, int64_t claimed) {
  const haddr_t offset = H5Dget_offset(candidate.dataset);
  if (offset == HADDR_UNDEF) refuse(candidate, "its content was never written");
  const auto start = static_cast<int64_t>(offset);
  if (start >= 0 && claimed <= candidate.file_bytes && start <= candidate.file_bytes - claimed)
    return;
  refuse(candidate, "expected " + std::to_string(claimed) + " bytes from byte " +
                        std::to_string(offset) + " on, but the file has only " +
                        std::to_string(candidate.file_bytes) +
                        " bytes: it was cut short; copy it again");
}

void check_chunks(const Candidate& candidate, hid_t create, int64_t claimed, int64_t element) {
  std::array<hsize_t, kMostDimensions + 1> extent{};
  const int rank = H5Pget_chunk(create, kMostDimensions, extent.data());
  std::vector<int64_t> chunk(extent.begin(), extent.begin() + std::clamp(rank, 0, kMostDimensions));
  if (claimed_bytes(candidate, element, chunk) > kMostChunkBytes)
    refuse(candidate, "expected chunks of at most " + std::to_string(kMostChunkBytes) + " bytes");
  const auto stored = static_cast<int64_t>(H5Dget_storage_size(candidate.dataset));
  if (stored < 0 || stored > candidate.file_bytes)
    refuse(candidate, "its chunks claim " + std::to_string(stored) + " bytes, the file has " +
                          std::to_string(candidate.file_bytes));
  const bool compressed = H5Pget_nfilters(create) > 0;
  if (!compressed && stored < claimed)
    refuse(candidate, "expected " + std::to_string(claimed) + " bytes, but only " +
                          std::to_string(stored) + " were ever written");
  if (compressed && claimed > kFreeBytes && claimed / kMostExpansion > stored)
    refuse(candidate, "claims " + std::to_string(claimed) + " bytes for " + std::to_string(stored) +
                          " compressed ones, expected at most " + std::to_string(kMostExpansion) +
                          " for each");
}

void check_storage(const Candidate& candidate, int64_t claimed, int64_t element) {
  const H5Handle create = h5_own_read(H5Dget_create_plist(candidate.dataset), H5Pclose,
                                      "read the layout of " + candidate.where, "");
  if (H5Pget_external_count(create.get()) != 0)
    refuse(candidate, "expected its content in this file, found external storage");
  const H5D_layout_t layout = H5Pget_layout(create.get());
  if (layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED && layout != H5D_COMPACT)
    refuse(candidate, "expected its content in this file, found a virtual dataset");
  if (claimed == 0) return;
  if (layout == H5D_CONTIGUOUS) check_contiguous(candidate, claimed);
  if (layout == H5D_CHUNKED) check_chunks(candidate, create.get(), claimed, element);
  if (layout == H5D_COMPACT &&
      static_cast<int64_t>(H5Dget_storage_size(candidate.dataset)) < claimed)
    refuse(candidate, "its content was never written");
}

// What is found on the way to an object: the first link that leads elsewhere, or the object itself.
struct LinkCheck {
  bool exists = false;
  std::string link = {};  // "" where there is none
  bool is_soft = false;
};

// Stops before a link is followed: that would open the other file.
LinkCheck follow_links(hid_t file, const std::string& name) {
  if (name == "/") return {.exists = true};
  for (const std::string& prefix : prefixes_of(name)) {
    H5L_info_t link{};
    const bool known = H5Lexists(file, prefix.c_str(), H5P_DEFAULT) > 0 &&
                       H5Lget_info(file, prefix.c_str(), &link, H5P_DEFAULT) >= 0;
    H5Eclear2(H5E_DEFAULT);
    if (!known) return {};
    if (link.type != H5L_TYPE_HARD)
      return {.exists = false, .link = prefix, .is_soft = link.type == H5L_TYPE_SOFT};
  }
  return {.exists = !prefixes_of(name).empty()};
}

}  // namespace

bool has_object(hid_t file, const std::string& name) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // the setting is per thread
  const LinkCheck found = follow_links(file, name);
  return found.exists || !found.link.empty();
}

void check_links(hid_t file, const std::string& name, const std::string& path) {
  const LinkCheck found = follow_links(file, name);
  if (!found.link.empty())
    throw DataError(path + ": " + found.link +
                    ": expected it in this file, found a link to another " +
                    (found.is_soft ? "name" : "file"));
  if (!found.exists) throw DataError(path + ": dataset " + name + " is missing");
}

int64_t file_bytes(hid_t file, const std::string& path) {
  hsize_t bytes = 0;
  h5_check_read(H5Fget_filesize(file, &bytes), "ask for the size", path);
  return static_cast<int64_t>(bytes);
}

H5Handle open_checked_dataset(hid_t file, const std::string& name, const std::string& path) {
  check_links(file, name, path);
  const hid_t opened = H5Dopen2(file, name.c_str(), H5P_DEFAULT);
  if (opened < 0)
    throw DataError(path + ": " + name + ": expected a dataset; HDF5 says: " + h5_error_text());
  H5Handle dataset(opened, H5Dclose);
  const Candidate candidate{opened, path + ": dataset " + name, file_bytes(file, path)};
  const int64_t element = check_type(candidate);
  const int64_t claimed = claimed_bytes(candidate, element, check_shape(candidate));
  check_storage(candidate, claimed, element);
  return dataset;
}

H5Handle open_checked_attribute(hid_t file, const std::string& name, const std::string& object,
                                H5T_class_t type_class, const std::string& path) {
  check_links(file, object, path);
  const std::string where = path + ": attribute '" + name + "' of " + object;
  if (H5Aexists_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT) <= 0) {
    H5Eclear2(H5E_DEFAULT);
    throw DataError(where + " is missing; expected a file written by pinnerformer");
  }
  H5Handle attribute =
      h5_own_read(H5Aopen_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
                  H5Aclose, "open attribute " + name, path);
  const H5Handle space =
      h5_own_read(H5Aget_space(attribute.get()), H5Sclose, "read attribute " + name, path);
  if (H5Sget_simple_extent_type(space.get()) != H5S_SCALAR)
    throw DataError(where + ": expected one value, found a list or nothing");
  const H5Handle type =
      h5_own_read(H5Aget_type(attribute.get()), H5Tclose, "read attribute " + name, path);
  const bool fits = H5Tget_class(type.get()) == type_class &&
                    (type_class == H5T_STRING ? H5Tis_variable_str(type.get()) > 0
                                              : is_standard_integer(type.get()));
  if (!fits)
    throw DataError(where + ": expected " +
                    (type_class == H5T_STRING ? "a variable-length string" : "an integer") +
                    ", found " + name_of_class(H5Tget_class(type.get())));
  return attribute;
}

}  // namespace pinnerformer
