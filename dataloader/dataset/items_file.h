// The opened items.h5 of a dataset: ids, vocabularies and the mapped vectors.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataloader/base/file.h"
#include "dataloader/base/id_column.h"
#include "dataloader/dataset/semantic_ids.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

struct ItemsFile {
  // Checks schema and sizes. Throws DataError, MissingInputError or IoError.
  explicit ItemsFile(const std::string& path);

  std::string fingerprint;
  int64_t first_time = 0;
  int64_t last_time = 0;
  std::vector<int64_t> part_users;
  std::vector<int64_t> part_events;
  std::vector<uint64_t> part_fingerprints;
  std::vector<std::string> actions;
  std::vector<std::string> surfaces;
  IdColumn ids;
  bool has_titles = false;
  IdColumn titles{false};  // strings, packed
  std::vector<std::string> topic_names;
  std::vector<int32_t> topics;
  torch::Tensor vectors;  // [I, C], undefined where there are none
  SemanticIds semantic_ids;

 private:
  void read_attributes(const H5File& file);
  void read_ids(const H5File& file);
  void read_topics(const H5File& file);
  void map_vectors(const H5File& file);
  void read_semantic_ids(const H5File& file);
};

}  // namespace pinnerformer
