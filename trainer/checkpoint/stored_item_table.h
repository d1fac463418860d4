// Reads the item table of a checkpoint for inference, on one rank.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "dataloader/dataset/dataset.h"
#include "trainer/options.h"

namespace pinnerformer {

// The table is mapped from its files, so that the processes of a host share its memory.
class StoredItemTable {
 public:
  struct Rows;
  // For the items of `dataset`, whose rows are found by the hash of their ids. `integer_ids`:
  // whether the item ids of the training data were integers (DataContract); nothing: as in
  // `dataset`. Throws CheckpointError.
  StoredItemTable(const std::string& directory, const ItemTableOptions& options,
                  const Dataset& dataset, std::optional<bool> integer_ids = {});

  // Rows of these items of `dataset`, int64 [...] -> float32 [..., E] on the CPU.
  [[nodiscard]] torch::Tensor rows(const torch::Tensor& items) const;
  // The row of an item that the table does not know, float32 [E].
  [[nodiscard]] torch::Tensor unknown_row() const;

  // Rows first .. first + count of a training's table for `dataset` with the same options
  // (ItemRows), for a new training to begin with.
  struct TableRows {
    torch::Tensor values;   // float32 [count, E]
    torch::Tensor trained;  // bool [count]; where false, the values are of no use
  };
  [[nodiscard]] TableRows table_rows(int64_t first, int64_t count) const;

  // Items of the dataset that read the unknown row: those that the training dataset did not have,
  // and those whose row was never updated.
  [[nodiscard]] int64_t new_items() const { return new_items_; }
  [[nodiscard]] int64_t untrained_items() const { return untrained_items_; }

 private:
  void find_rows(const ItemTableOptions& options, const Dataset& dataset, bool integers);

  std::shared_ptr<const Rows> rows_;
  torch::Tensor row_of_item_;  // int64 [I]
  bool hashed_ = false;        // rows are buckets
  int64_t new_items_ = 0;
  int64_t untrained_items_ = 0;
};

// The figures of `checkpoint inspect` for a table. Computed slice by slice.
struct ItemTableSummary {
  int64_t items = 0;
  int64_t rows = 0;  // without the unknown row
  int64_t width = 0;
  int64_t trained_rows = 0;                // updated at least once
  int64_t collisions = 0;                  // items that share their row with an earlier item
  double mean_norm = 0, largest_norm = 0;  // of the trained rows
  double unknown_norm = 0;                 // of the unknown row
  int64_t changed_rows = 0;  // held apart from the whole copy (checkpoint.table_full_every)
};
[[nodiscard]] ItemTableSummary summarise_item_table(const std::string& directory,
                                                    const ItemTableOptions& options);

}  // namespace pinnerformer
