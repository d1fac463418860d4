// Strings of variable length, read without the library: it gives memory for the length that a file
// claims, up to 4 GiB, and reads behind the end of what is stored. Includes hdf5.h: for h5_*.cc
// only.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "dataloader/base/file.h"
#include "dataloader/hdf5/h5_handle.h"

namespace pinnerformer {

// Whether the strings of a checked dataset lie where H5Heap finds them: references of 16 bytes one
// after the other, in a file without a user block whose addresses have 8 bytes.
[[nodiscard]] bool has_plain_references(hid_t file, hid_t dataset);

// The global heap of a file ("HDF5 File Format Specification", section III.E): collections of
// objects, each with a number of its own within its collection.
class H5Heap {
 public:
  static constexpr int64_t kReferenceBytes = 16;

  explicit H5Heap(const std::string& path);

  // The string of a reference: length (4 bytes), address of a collection (8), number of the object
  // (4), all little endian. Valid until the next call. Throws DataError where the file has no such
  // object or where more is read than the file has: one string may be named many times.
  [[nodiscard]] std::string_view string_of(const char* reference);
  // References of rows [first, first + count) of the dataset that begins at byte `offset`.
  [[nodiscard]] std::string references(int64_t offset, int64_t first, int64_t count) const;

 private:
  struct Collection {
    std::string content;
    std::map<uint16_t, std::string_view> objects;
  };
  const Collection& collection(uint64_t address);
  [[nodiscard]] Collection read_collection(uint64_t address) const;
  void spend(uint64_t bytes, const char* on);
  [[noreturn]] void refuse(const std::string& fault) const;

  File file_;
  uint64_t bytes_;                              // of the file
  uint64_t left_;                               // bytes that may still be read
  std::map<uint64_t, Collection> collections_;  // the last few, by address
};

}  // namespace pinnerformer
