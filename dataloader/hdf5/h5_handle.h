// RAII for HDF5 identifiers and the error text of the library. Includes hdf5.h: for h5_*.cc only.
#pragma once
#include <hdf5.h>

#include <string>
#include <utility>

#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

// Owns one identifier (dataset, space, type, property list, attribute).
class H5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  H5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  H5Handle(H5Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  H5Handle& operator=(H5Handle&&) = delete;
  ~H5Handle() {
    if (id_ >= 0) close_(id_);
  }
  [[nodiscard]] hid_t get() const { return id_; }

 private:
  hid_t id_;
  Close close_;
};

// What the library says about its last error, innermost reason first; clears it.
[[nodiscard]] std::string h5_error_text();

// Throw where an identifier or a status is negative: IoError with `what`, the file and the text of
// the library.
hid_t h5_check(hid_t id, const std::string& what, const std::string& path);
H5Handle h5_own(hid_t id, H5Handle::Close close, const std::string& what, const std::string& path);
// The same for calls that read: IoError where the system failed, else the file is bad: DataError.
hid_t h5_check_read(hid_t id, const std::string& what, const std::string& path);
H5Handle h5_own_read(hid_t id, H5Handle::Close close, const std::string& what,
                     const std::string& path);

// The HDF5 type an element is stored as, and back (kOther where there is none).
[[nodiscard]] H5Handle h5_type(ElementType type);
[[nodiscard]] ElementType element_type(hid_t type);
// Variable-length UTF-8.
[[nodiscard]] H5Handle h5_string_type();

}  // namespace pinnerformer
