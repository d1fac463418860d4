// The users of today's vector file: those embedded today and those taken over from yesterday's.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "dataloader/base/id_column.h"
#include "dataloader/base/row_set.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/vectors/embedding_file.h"

namespace pinnerformer {

// Walks over the union of both in the order of datasets, (hash, id), so that a merged file has the
// order of a file written at once. Holds one block of ids.
class EmbeddingMerge {
 public:
  // A user of both is `fresh`: today's vector replaces yesterday's. `yesterday` may be null. Both
  // sources and `fresh` (rows of `today`) must outlive the walk. Throws DataError where ids are
  // integers here and strings there.
  EmbeddingMerge(const Dataset& today, const RowSet& fresh, const EmbeddingFileReader* yesterday);

  // Steps to the next user, the first one to begin with; false behind the last.
  [[nodiscard]] bool next();
  [[nodiscard]] bool is_fresh() const { return uses_today_; }
  // Row in the dataset where fresh, else in yesterday's file.
  [[nodiscard]] int64_t row() const { return uses_today_ ? todays_row_ : yesterdays_row_; }
  // Row in yesterday's file, -1 where the user is not in it: that of a fresh user, too.
  [[nodiscard]] int64_t yesterdays_row() const { return uses_yesterday_ ? yesterdays_row_ : -1; }
  void append_id(IdColumn* ids) const;

 private:
  struct Key {
    uint64_t hash = 0;
    std::string text;  // "" for integers: their hash is one to one
    auto operator<=>(const Key&) const = default;
  };
  [[nodiscard]] Key todays_key(int64_t user) const;
  void step_today();
  void step_yesterday();

  const Dataset& today_;
  const RowSet& fresh_;
  const EmbeddingFileReader* yesterday_;
  int64_t todays_row_ = -1;
  int64_t yesterdays_row_ = -1;
  int64_t block_first_ = 0;  // row of the first id of block_
  IdColumn block_;
  std::optional<Key> todays_key_, yesterdays_key_;  // of those rows; none behind the last
  bool uses_today_ = false;      // the user of this step is in today's dataset and fresh;
  bool uses_yesterday_ = false;  // is in yesterday's file
};

}  // namespace pinnerformer
