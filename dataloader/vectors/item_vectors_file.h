// A file of item vectors as `pinnerformer import --vectors` reads it (docs/data_format.md, "Item
// vectors").
#pragma once
#include <string>

#include "dataloader/vectors/co_occurrence_vectors.h"

namespace pinnerformer {

// Writes /item_id and /vector (float16), the recipe and its parts as attributes, beside `path`, and
// renames: a reader sees the old file or the whole new one. Throws IoError.
void write_item_vectors(const std::string& path, const ItemVectors& content);

// Puts the vectors into the dataset in `directory` by item id, in place of those it has; items
// without one get a row of zeros, vectors of items that the dataset lacks are left out. items.h5 is
// written beside the dataset and renamed, users files stay as they are: a reader sees the old or
// the new dataset, and the fingerprint changes. Returns how many items got a vector. Throws
// DataError, MissingInputError or IoError, and DataError where not one id is found.
int64_t attach_item_vectors(const std::string& directory, const ItemVectors& content);

}  // namespace pinnerformer
