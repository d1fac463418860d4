// Writes the items.h5 of a dataset (docs/data_format.md): ids and names at once, vectors as they
// come, the list of users files at the end.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataloader/base/file.h"
#include "dataloader/base/id_column.h"

namespace pinnerformer {

class H5File;

// Semantic ids (semantic_ids.h) without LibTorch, which the import does not include.
struct ItemCodes {
  int64_t levels = 0;            // L; 0: items have no codes
  std::vector<int32_t> codes;    // [I, L]
  std::vector<float> codebooks;  // [L * V, vector_width]
};

// What items.h5 says about items besides their vectors.
struct ItemColumns {
  IdColumn ids;                     // strictly ascending: integers by value, strings by their bytes
  std::vector<std::string> titles;  // empty, or one per item ("" unknown)
  std::vector<int32_t> topics;      // empty, or one per item: index of topic_names or -1
  std::vector<std::string> topic_names;  // strictly ascending
  ItemCodes codes{};                     // only beside vectors
};

// What else the file holds before the first user is known.
struct ItemsFormat {
  std::vector<std::string> actions;   // strictly ascending, at most 32,767
  std::vector<std::string> surfaces;  // strictly ascending, at most 32,767
  int64_t vector_width = 0;           // 0: items have no vectors
  bool float32_vectors = false;       // else float16
};

// What the users files hold: one element per file, then the span of all events.
struct PartList {
  std::vector<int64_t> users;
  std::vector<int64_t> events;
  std::vector<uint64_t> fingerprints;
  int64_t first_time = 0;
  int64_t last_time = 0;
};

class ItemsWriter {
 public:
  // Throws DataError where the tables break a promise of the format.
  ItemsWriter(std::string path, ItemColumns items, ItemsFormat format);

  [[nodiscard]] int64_t items() const { return items_.ids.size(); }
  // Vectors of items [first, first + values.size() / vector_width), row by row; items never set
  // have a row of zeros. Throws DataError that names the item where a value is not finite.
  void set_vectors(int64_t first, std::span<const float> values);
  // Completes the file and brings it to the disk.
  void seal(const PartList& parts);

 private:
  void define();
  void define_codes(H5File& file) const;
  void write_codes(const H5File& written);

  std::string path_;
  ItemColumns items_;
  ItemsFormat format_;
  std::optional<File> file_;  // open for the raw rows until sealed
  int64_t vectors_offset_ = 0;
};

}  // namespace pinnerformer
