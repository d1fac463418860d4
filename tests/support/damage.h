// Puts a wrong value into a file of a dataset, past its checksums.
#pragma once
#include <cstdint>
#include <string>

#include "dataloader/base/file.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

// Overwrites the n-th element of a dataset; `Value` has the size of its elements.
template <class Value>
void overwrite_element(const std::string& path, const std::string& dataset, int64_t element,
                       Value value) {
  const H5File file = H5File::open(path);
  const ArrayLayout found = file.describe(dataset);
  const ArrayLayout layout = file.layout(dataset, {found.type}, found.shape.size());
  File::open_for_update(path).write_at(
      layout.offset + element * static_cast<int64_t>(sizeof(Value)), &value, sizeof(Value));
}

}  // namespace pinnerformer
