// The file of an HNSW index, as hnswlib writes it (docs/data_format.md, "Item index"). hnswlib
// believes every number in it: the whole file is checked here before hnswlib sees it.
#pragma once
#include <cstdint>

#include "dataloader/base/file.h"

namespace pinnerformer {

// What the description of an index promises about its file.
struct HnswShape {
  int64_t rows = 0;   // vectors
  int64_t width = 0;  // numbers of a vector
  int64_t m = 0;      // links of a vector; twice as many on the lowest level
};

// The most rows and links that hnswlib can hold, and the widest vectors that are believed.
constexpr int64_t kMostHnswRows = (int64_t{1} << 31) - 2;
constexpr int64_t kMostHnswLinks = 512;
constexpr int64_t kMostHnswWidth = 65536;

// Throws DataError, naming the first fault, unless hnswlib can load the file and search in it
// without reading outside its memory: sizes, levels and links, labels that are the rows 0 to
// rows - 1, finite vectors, no deleted ones. Reads the file once, in blocks; memory: one bit for a
// row and the links of the upper levels.
void check_hnsw_file(const File& file, const HnswShape& shape);

}  // namespace pinnerformer
