// A file of embeddings (docs/data_format.md, "Vector files"): what `embed` writes. Read and written
// in blocks: no function holds more than the rows it is asked for.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/base/file.h"
#include "dataloader/base/id_column.h"
#include "dataloader/base/published_file.h"
#include "dataloader/hdf5/h5_file.h"
#include "dataloader/vectors/embedding_writer.h"

namespace pinnerformer {

// Vectors may be compared or stand in one table only where all of this is equal (paper section 11).
struct EmbeddingVersion {
  std::string model;    // names the weights of both towers
  std::string content;  // names the content vectors they read
  bool operator==(const EmbeddingVersion&) const = default;
};

// What made the vectors of a file.
struct EmbeddingSource {
  std::string run;  // "" where the checkpoint is in no run directory
  std::string checkpoint;
  int64_t step = 0;
  std::string topic = {};  // of the items that the users' vectors are for; "": any
};

// Throws DataError unless `found`, the version of the vectors of `where`, is `expected`, that of
// `whose`.
void require_version(const EmbeddingVersion& found, const std::string& where,
                     const EmbeddingVersion& expected, const std::string& whose,
                     const std::string& remedy = "Embed all users and items anew, without --merge");

// One vector set of a file, opened for reading. One thread at a time.
class EmbeddingFileReader {
 public:
  // `group` is "/user" or "/item". Compares integer ids with their checksums, where the file has
  // some. Throws DataError (no vector file, damaged, without this set), MissingInputError or
  // IoError.
  EmbeddingFileReader(const std::string& path, const std::string& group);

  [[nodiscard]] const std::string& path() const { return bytes_.path(); }
  [[nodiscard]] const EmbeddingVersion& version() const { return version_; }
  // EmbeddingSource::topic
  [[nodiscard]] const std::string& topic() const { return topic_; }
  [[nodiscard]] int64_t rows() const { return rows_; }
  [[nodiscard]] int64_t width() const { return width_; }  // D
  [[nodiscard]] bool integer_ids() const { return integer_ids_; }
  // Of rows [first, first + count).
  [[nodiscard]] IdColumn ids(int64_t first, int64_t count) const;
  // float32 [count, D], also where the file has float16. Throws DataError where a block of them
  // does not match its checksum or a number is not finite.
  [[nodiscard]] torch::Tensor vectors(int64_t first, int64_t count) const;
  // False for a file of an earlier version of this program: what is read from it is not compared.
  [[nodiscard]] bool has_checksums() const { return !checksums_.empty() || rows_ == 0; }

 private:
  [[nodiscard]] int64_t row_bytes() const { return width_ * size_of(type_); }
  void check_ids() const;
  void verify(int64_t first_byte, int64_t end_byte) const;

  H5File file_;
  File bytes_;
  std::string id_;      // name of the dataset
  std::string vector_;  // the same
  EmbeddingVersion version_;
  std::string topic_;
  bool integer_ids_ = true;
  int64_t rows_ = 0;
  int64_t width_ = 0;
  ElementType type_ = ElementType::kFloat32;  // of the stored numbers
  int64_t offset_ = 0;                        // of the vectors in the file, bytes
  std::vector<uint64_t> checksums_;           // of the blocks of vectors
  mutable std::vector<bool> verified_;        // blocks that have matched
};

// Throws DataError unless the vectors have `width` numbers, as those of the model.
void require_width(const EmbeddingFileReader& found, int64_t width);
// Throws DataError unless the users' vectors are for items of `topic`; "": of any.
void require_topic(const EmbeddingFileReader& found, const std::string& topic);
// A line for stderr where the file has no checksums, else "".
[[nodiscard]] std::string checksum_note(const EmbeddingFileReader& found);

// Writes a file under a temporary name beside `path`: a reader sees the older file or the whole new
// one. Every failure to write is an IoError.
class EmbeddingFileWriter : public EmbeddingWriter {
 public:
  // Writes all ids. All sets have one version, since one model and one dataset make them.
  EmbeddingFileWriter(std::string path, const EmbeddingVersion& version,
                      const std::vector<EmbeddingFileShape>& sets,
                      const EmbeddingSource& source = {});

  // In any order; rows never written hold zeros.
  void write(const std::string& group, int64_t first, const torch::Tensor& vectors) override;
  void publish() override;

 private:
  struct Place {
    std::string group;
    int64_t rows = 0;
    int64_t width = 0;
    int64_t offset = 0;
    ElementType type = ElementType::kFloat32;
  };
  // Numbers and their checksums, which are written when the numbers are complete.
  struct Summed {
    ArrayLayout content;
    ArrayLayout checksums;
  };
  void write_integer_ids(const EmbeddingFileShape& set, int64_t offset);
  void write_checksums();

  std::string path_;
  std::optional<PublishedFile> partial_;  // until it is published
  std::vector<Place> places_;
  std::vector<Summed> summed_;
};

}  // namespace pinnerformer
