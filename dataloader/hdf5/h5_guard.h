// Checks of HDF5 objects before the library reads them. The library believes what a file says of
// itself: it follows links into other files, reads any file as "external storage", gives memory for
// content that was never written, and writes as many values as an attribute has into the variable
// of one. Includes hdf5.h: for h5_*.cc only.
#pragma once
#include <string>

#include "dataloader/hdf5/h5_handle.h"

namespace pinnerformer {

// Opens a dataset of numbers or strings whose content lies in this file. Throws DataError where
//   - a part of its name is missing, or is a link to another name or file;
//   - its elements are no standard integers or floats and no strings, or its shape is no list of
//     1 to 4 extents;
//   - its content lies in another file, was never written, or ends behind the end of the file;
//   - it claims more bytes than so many stored bytes can hold (kMostExpansion).
[[nodiscard]] H5Handle open_checked_dataset(hid_t file, const std::string& name,
                                            const std::string& path);

// Opens an attribute of one value (a scalar) of this class, H5T_INTEGER or H5T_STRING. Throws
// DataError. Where the class is H5T_STRING the value is of variable length.
[[nodiscard]] H5Handle open_checked_attribute(hid_t file, const std::string& name,
                                              const std::string& object, H5T_class_t type_class,
                                              const std::string& path);

// True where every part of the name is there, or one of them is a link to another name or file
// (which check_links() refuses); no such link is followed.
[[nodiscard]] bool has_object(hid_t file, const std::string& name);
// Throws DataError unless every part of the name is there and is no link to another name or file.
void check_links(hid_t file, const std::string& name, const std::string& path);

// Bytes of the file.
[[nodiscard]] int64_t file_bytes(hid_t file, const std::string& path);

}  // namespace pinnerformer
