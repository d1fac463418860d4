// The properties of the training data that a model depends on, beyond tensor shapes. Stored in
// every checkpoint and checked against every dataset that the model is used with
// (docs/checkpoint_format.md, "data.json").
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"

namespace pinnerformer {

struct DataContract {
  std::vector<std::string> actions;   // by the index the model knows them by
  std::vector<std::string> surfaces;  // likewise
  int64_t vector_width = 0;           // C; 0: no content vectors
  std::vector<std::string> topics;    // likewise, with model.condition=topic; else empty
  // External ids of up to 256 items, spread over all items, with the XXH3-64 of their content
  // vectors as float32: vectors of another encoder have other hashes.
  std::map<std::string, std::string> vector_sample;
  std::string codebooks = {};  // codebooks_version(), with item.semantic_ids=true; else ""
  // Whether item ids are integers, else strings; nothing in checkpoints of earlier programs.
  std::optional<bool> integer_items = {};

  // Identifies the content vectors: a hash of the sample, "none" where there are no vectors.
  [[nodiscard]] std::string content_version() const;
};

[[nodiscard]] DataContract data_contract(const Dataset& dataset);

[[nodiscard]] std::string to_json(const DataContract& contract);
// Throws CheckpointError naming `source`.
[[nodiscard]] DataContract parse_data_contract(const std::string& json, const std::string& source);

// Throws DataError where `dataset` has an action or surface that the model of `source` does not
// know, or content vectors of another width or encoder, or semantic ids of other codebooks. New
// users, items and events are accepted.
void require_contract(const Dataset& dataset, const DataContract& contract,
                      const std::string& source);

// The part of require_contract() on content vectors and semantic ids.
void require_same_content(const Dataset& dataset, const DataContract& contract,
                          const std::string& source);

// Throws DataError where the item ids of `dataset` are of another type, integers or strings, than
// those of the training data: with item.table.hash_buckets the row of an item then is another one.
void require_same_id_type(const Dataset& dataset, const DataContract& contract,
                          const std::string& source);

// Hash of the codebooks of the dataset's semantic ids; "none" where it has none.
[[nodiscard]] std::string codebooks_version(const Dataset& dataset);

// The index in `known` of each name, all of which must be there.
[[nodiscard]] std::vector<int64_t> indices_of(const std::vector<std::string>& names,
                                              const std::vector<std::string>& known);

}  // namespace pinnerformer
