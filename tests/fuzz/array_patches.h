// Changes of the numbers in an HDF5 file; the bytes that HDF5 itself interprets stay as they are.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset_format.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

// Where the arrays of numbers lie in the file, and their checksums.
inline std::vector<ArrayLayout> arrays_of(const std::string& path,
                                          const std::vector<std::string>& names) {
  const H5File file = H5File::open(path);
  std::vector<ArrayLayout> layouts;
  const auto add = [&](const std::string& name) {
    const ArrayLayout found = file.describe(name);
    layouts.push_back(file.layout(name, {found.type}, found.shape.size()));
  };
  for (const std::string& name : names) {
    add(name);
    if (file.has(checksum_name(name))) add(checksum_name(name));
  }
  return layouts;
}

// `data` is a list of patches of ten bytes: which array, where in it, eight bytes to put there.
inline std::string patched(std::string file, const std::vector<ArrayLayout>& arrays,
                           const uint8_t* data, size_t size) {
  for (; size >= 10; data += 10, size -= 10) {
    const ArrayLayout& array = arrays[data[0] % arrays.size()];
    const auto place = static_cast<size_t>(array.offset + data[1] * 8 % array.bytes);
    std::memcpy(file.data() + place, data + 2, std::min<size_t>(8, file.size() - place));
  }
  return file;
}

}  // namespace pinnerformer
