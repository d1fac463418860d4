// The external ids of the rows of a file that cannot hold them: STEM.ids.npy (int64) for integers,
// STEM.ids.txt for strings, one on each line.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "dataloader/base/id_column.h"
#include "dataloader/formats/npy_writer.h"

namespace pinnerformer {

[[nodiscard]] std::string id_file_name(const std::string& stem, bool integers);

class IdFileWriter {
 public:
  // Throws IoError, as all functions here.
  IdFileWriter(const std::string& stem, bool integers, int64_t rows);
  // The next ids. Throws DataError for a string with a line end in it.
  void append(const IdColumn& ids);
  [[nodiscard]] FileDigest digest() const;  // all ids have been appended
  void publish();

 private:
  std::optional<NpyWriter> numbers_;
  std::optional<PublishedFile> lines_;
  StreamHash hash_;  // of the lines
  int64_t bytes_ = 0;
};

// Throws DataError where there are not `rows` ids, MissingInputError or IoError.
[[nodiscard]] IdColumn read_id_file(const std::string& stem, bool integers, int64_t rows);

}  // namespace pinnerformer
