// The work of `index`: from the item vectors of a file to a checked index.
#pragma once
#include <cstdint>
#include <string>

#include "launch/index/hnsw_graph.h"
#include "launch/serving/item_index.h"

namespace pinnerformer {

struct IndexRequest {
  std::string vectors;  // file of `embed` with items
  std::string out;      // index to write
  HnswOptions graph;
  int64_t ef = 128;
  int64_t queries = 1000;
  double least_recall = .95;
};

// Builds the index, measures its recall@10 against a comparison with all vectors, and publishes the
// three files of an ItemIndex, the description last. Queries are user vectors of the file, or item
// vectors with noise where it has none. Throws DataError (no vector file, no items, numbers that
// are not finite, less than least_recall) or IoError, and has then published nothing.
ItemIndexDescription write_index(const IndexRequest& request);

}  // namespace pinnerformer
