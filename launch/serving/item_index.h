// The index of item vectors that `pinnerformer index` writes and `recommend --index` reads:
// FILE (hnswlib), FILE.json and the ids of its rows (docs/data_format.md, "Item index").
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "dataloader/base/durable_file.h"
#include "dataloader/base/id_column.h"
#include "dataloader/vectors/embedding_file.h"
#include "launch/index/hnsw_graph.h"

namespace pinnerformer {

// How well an index finds what a comparison with all vectors finds.
struct IndexRecall {
  double at_10 = 0;  // share of the 10 best items that is found, mean over the queries
  int64_t queries = 0;
  std::string kind;  // what the queries were
};

struct ItemIndexDescription {
  EmbeddingVersion version;
  HnswShape shape;
  int64_t ef_construction = 0;
  int64_t ef = 0;  // candidates of a search
  bool integer_ids = true;
  IndexRecall recall;
  FileDigest graph, ids;  // of the two files
};

[[nodiscard]] std::string index_description_name(const std::string& path);  // FILE.json
[[nodiscard]] nlohmann::ordered_json to_json(const ItemIndexDescription& description);
// Throws MissingInputError, or DataError where it is not such a description.
[[nodiscard]] ItemIndexDescription read_index_description(const std::string& path);

// An index that is open for searching.
class ItemIndex {
 public:
  // Verifies the checksums of all files. Throws DataError (damaged, changed, or no index),
  // MissingInputError or IoError.
  explicit ItemIndex(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const ItemIndexDescription& description() const { return description_; }
  [[nodiscard]] const IdColumn& ids() const { return ids_; }  // of the rows
  [[nodiscard]] const HnswGraph& graph() const { return *graph_; }

 private:
  std::string path_;
  ItemIndexDescription description_;
  IdColumn ids_;
  std::optional<HnswGraph> graph_;
};

}  // namespace pinnerformer
