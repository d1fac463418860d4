// The error stack of HDF5 as text, and the types of our elements.
#include "dataloader/hdf5/h5_handle.h"

#include <array>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

// At exit the library would write again what could not be written to a full disk, and crash. Before
// main(), since any call of the library registers its exit handler.
[[maybe_unused]] const herr_t without_exit_handler = H5dont_atexit();

// H5Ewalk2 calls this once per level, the outermost first: the last one set is the reason.
herr_t keep_description(unsigned, const H5E_error2_t* error, void* text) {
  if (error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

constexpr std::array kStoredTypes = {
    ElementType::kInt16,   ElementType::kInt32,   ElementType::kInt64,  ElementType::kUint64,
    ElementType::kFloat16, ElementType::kFloat32, ElementType::kFloat64};

// IEEE 754 binary16, built the way h5py and numpy do, so that they take it as float16.
hid_t half_type() {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(type, 15, 10, 5, 0, 10);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 15);
  return type;
}

hid_t copy_of_type(ElementType type) {
  switch (type) {
    case ElementType::kInt16:
      return H5Tcopy(H5T_STD_I16LE);
    case ElementType::kInt32:
      return H5Tcopy(H5T_STD_I32LE);
    case ElementType::kInt64:
      return H5Tcopy(H5T_STD_I64LE);
    case ElementType::kUint64:
      return H5Tcopy(H5T_STD_U64LE);
    case ElementType::kFloat16:
      return half_type();
    case ElementType::kFloat32:
      return H5Tcopy(H5T_IEEE_F32LE);
    case ElementType::kFloat64:
      return H5Tcopy(H5T_IEEE_F64LE);
    case ElementType::kOther:
      break;
  }
  throw std::logic_error("no HDF5 type for this element type");
}

// The drivers' texts hold errno among file offsets and times, over several lines.
std::string cause(const std::string& reason) {
  constexpr std::string_view kSign = "errno = ";
  const size_t at = reason.find(kSign);
  if (at == std::string::npos) return "HDF5 says: " + reason;
  return std::generic_category().message(std::atoi(reason.c_str() + at + kSign.size()));
}

std::string failure_text(const std::string& what, const std::string& path,
                         const std::string& reason) {
  return "cannot " + what + (path.empty() ? "" : " in " + path) + ": " + cause(reason);
}

}  // namespace

std::string h5_error_text() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_description, &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "no reason given" : text;
}

hid_t h5_check(hid_t id, const std::string& what, const std::string& path) {
  if (id < 0) throw IoError(failure_text(what, path, h5_error_text()));
  return id;
}

// The library's drivers put errno into their texts, and nothing else does.
hid_t h5_check_read(hid_t id, const std::string& what, const std::string& path) {
  if (id >= 0) return id;
  const std::string reason = h5_error_text();
  if (reason.find("errno = ") != std::string::npos) throw IoError(failure_text(what, path, reason));
  throw DataError(failure_text(what, path, reason) + ". Is it damaged?");
}

H5Handle h5_own(hid_t id, H5Handle::Close close, const std::string& what, const std::string& path) {
  return {h5_check(id, what, path), close};
}

H5Handle h5_own_read(hid_t id, H5Handle::Close close, const std::string& what,
                     const std::string& path) {
  return {h5_check_read(id, what, path), close};
}

H5Handle h5_type(ElementType type) { return {copy_of_type(type), H5Tclose}; }

ElementType element_type(hid_t type) {
  for (const ElementType candidate : kStoredTypes) {
    if (H5Tequal(type, h5_type(candidate).get()) > 0) return candidate;
  }
  return ElementType::kOther;
}

H5Handle h5_string_type() {
  H5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

}  // namespace pinnerformer
