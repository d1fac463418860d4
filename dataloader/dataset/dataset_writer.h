// Writes a dataset directory (docs/data_format.md) beside its final name and publishes it by
// rename: a reader sees the whole dataset or none.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/dataset/items_writer.h"
#include "dataloader/dataset/timeline.h"

namespace pinnerformer {

struct DatasetWriterOptions {
  std::string directory;
  bool overwrite = false;            // replace a dataset that is there already
  std::vector<std::string> actions;  // these four as in ItemsFormat
  std::vector<std::string> surfaces;
  int64_t vector_width = 0;
  bool float32_vectors = false;
  bool integer_user_ids = true;
  int64_t part_events = int64_t{64} << 20;  // a users file is closed once it has this many
};

// Whether the directory holds a dataset (whole or damaged), i.e. an items.h5.
[[nodiscard]] bool holds_dataset(const std::string& directory);

class DatasetWriter {
 public:
  // Throws DataError where something is in the way in `directory`, or the tables break a promise.
  DatasetWriter(DatasetWriterOptions options, ItemColumns items);
  ~DatasetWriter();  // removes what was not published

  // Vectors of items [first, first + values.size() / vector_width), row by row; items never set
  // have a row of zeros. Throws DataError that names the item where a value is not finite.
  void set_vectors(int64_t first, std::span<const float> values);
  // Users come in ascending (user_hash(id), id); events in ascending time. Throws DataError.
  void add_user(int64_t id, const Timeline& events);
  void add_user(std::string_view id, const Timeline& events);
  // Seals and publishes the directory. Nothing can be added afterwards.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pinnerformer
