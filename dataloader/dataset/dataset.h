// An opened dataset directory (docs/data_format.md): reads timelines of users and vectors of items.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/base/file.h"
#include "dataloader/base/id_column.h"
#include "dataloader/dataset/event_block.h"
#include "dataloader/dataset/semantic_ids.h"
#include "dataloader/dataset/timeline.h"

namespace pinnerformer {

class Dataset {
 public:
  // Checks the schema of every file. Throws MissingInputError, DataError or IoError.
  static Dataset open(const std::string& directory);
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;
  ~Dataset();

  [[nodiscard]] int64_t users() const;
  [[nodiscard]] int64_t items() const;
  [[nodiscard]] int64_t events() const;
  [[nodiscard]] int64_t first_time() const;  // of all events; seconds
  [[nodiscard]] int64_t last_time() const;
  [[nodiscard]] const std::string& directory() const;
  // Changes whenever the content changes; equal on all ranks that read the same dataset.
  [[nodiscard]] const std::string& fingerprint() const;

  [[nodiscard]] const std::vector<std::string>& actions() const;   // index -> name
  [[nodiscard]] const std::vector<std::string>& surfaces() const;  // index -> name

  // Events of one user row, checked as by check(), and the number of them without reading them.
  // Thread-safe.
  [[nodiscard]] Timeline timeline(int64_t user) const;
  [[nodiscard]] int64_t timeline_length(int64_t user) const;
  // The events of `count` users from row `first` on, with one read per column and file. They are
  // not checked. Thread-safe.
  void read(int64_t first, int64_t count, EventBlock& block) const;
  [[nodiscard]] std::vector<Timeline> timelines(int64_t first, int64_t count) const;
  // Throws DataError where a file with these users was cut short since it was opened: their lengths
  // are mapped, and asking for them would end the process.
  void check_files(int64_t first, int64_t count) const;
  // Compares the blocks that hold these events with their checksums, each one once: `verified`
  // remembers which. Throws DataError with file, dataset and rows.
  void verify(int64_t first, int64_t count, std::vector<VerifiedBlocks>& verified) const;
  // Throws DataError naming file and rows where a timeline that was read breaks a promise.
  void check(const Timeline& timeline) const;
  // The parts of the files that read() reads, in its order.
  [[nodiscard]] std::vector<FileRange> file_ranges(int64_t first, int64_t count) const;
  // Where a user is, for messages: file, external id, rows.
  [[nodiscard]] std::string place_of(int64_t user) const;

  // Times of the newest events of `count` users from row `first` on, INT64_MIN where a user has
  // none; reads the times only. Thread-safe.
  [[nodiscard]] std::vector<int64_t> newest_times(int64_t first, int64_t count) const;

  // External ids: 64-bit integers or strings, as text; `find_*` is the inverse.
  [[nodiscard]] std::string user_id(int64_t user) const;
  [[nodiscard]] std::string item_id(int64_t item) const;
  [[nodiscard]] bool user_ids_are_integers() const;
  [[nodiscard]] bool item_ids_are_integers() const;
  // Adds the id to a column of the right kind.
  void append_user_id(int64_t user, IdColumn* ids) const;
  void append_item_id(int64_t item, IdColumn* ids) const;
  [[nodiscard]] std::optional<int64_t> find_user(const std::string& id) const;
  [[nodiscard]] std::optional<int64_t> find_item(const std::string& id) const;
  // splitmix64 of an integer id, XXH3 of a string id: decides who is held out for evaluation.
  [[nodiscard]] uint64_t user_hash(int64_t user) const;
  // The same of an item's id: names it across datasets.
  [[nodiscard]] uint64_t item_hash(int64_t item) const;
  // The hash that the item's id has in a dataset whose item ids are integers, or strings. Nothing
  // where `integers` and the id is no integer.
  [[nodiscard]] std::optional<uint64_t> item_hash_as(bool integers, int64_t item) const;

  // float16 (or float32, where the file has that) [I, C], mapped read only from the file, never
  // copied: writing to it ends the process. Undefined where the dataset has none.
  // A row of zeros is an item without a vector.
  [[nodiscard]] const torch::Tensor& item_vectors() const;
  [[nodiscard]] int64_t vector_width() const;  // C, 0 where the dataset has no vectors
  // Codes of the item vectors; not defined() where the dataset has none.
  [[nodiscard]] const SemanticIds& semantic_ids() const;
  [[nodiscard]] bool has_titles() const;
  [[nodiscard]] std::string item_title(int64_t item) const;  // "" where unknown
  [[nodiscard]] bool has_topics() const;
  [[nodiscard]] const std::vector<int32_t>& item_topics() const;  // [I] topic number, -1: unknown
  [[nodiscard]] const std::vector<std::string>& topic_names() const;

 private:
  struct Impl;
  explicit Dataset(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pinnerformer
