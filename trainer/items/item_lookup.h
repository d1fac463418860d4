// The rows of the item table that a training step reads on this rank: a function of the batch, the
// step and the seed, never of the rank.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/batch.h"
#include "trainer/options.h"

namespace pinnerformer {

// The rows of a table: one for every item or bucket, and the unknown row last.
class ItemRows {
 public:
  // `dataset` must outlive this.
  ItemRows(const ItemTableOptions& options, const Dataset& dataset);

  [[nodiscard]] int64_t count() const { return unknown() + 1; }
  [[nodiscard]] int64_t unknown() const { return buckets_ > 0 ? buckets_ : dataset_->items(); }
  // Throws DataError where the dataset has no such item.
  [[nodiscard]] int64_t row(int64_t item) const;
  // For messages: "item ID", "bucket 7" or "the unknown row".
  [[nodiscard]] std::string name(int64_t row) const;
  // Items that share their row with an earlier item; 0 without buckets. Reads all items.
  [[nodiscard]] int64_t collisions() const;

 private:
  const Dataset* dataset_;
  int64_t buckets_;
};

// The bucket of an item, from the hash of its external id (Dataset::item_hash).
[[nodiscard]] int64_t bucket_of(uint64_t item_hash, int64_t buckets);

// The items that a step reads: of its inputs, of its pairs, and of this rank's columns of the pool.
struct StepItems {
  const Batch& inputs;
  const std::vector<int64_t>& positives;  // [P]
  const torch::Tensor& pool;              // int64 [n]
};

struct ItemLookup {
  torch::Tensor rows;       // int64 [U], distinct
  torch::Tensor inputs;     // int64 [B, S] position in `rows` of every input; 0 at padding
  torch::Tensor positives;  // int64 [P]
  torch::Tensor pool;       // int64 [n]
};

// Each item is looked up once. With probability `unknown_rate`, drawn for (seed, step, item), an
// item reads the unknown row wherever it appears in the step. New items read that row in inference,
// so the model learns to use their content instead.
[[nodiscard]] ItemLookup plan_lookup(const StepItems& items, const ItemRows& rows,
                                     double unknown_rate, int64_t seed, int64_t step);

// The same lookup with its rows ordered by owner: see order_by_owner() in comm/rows/row_exchange.h.
[[nodiscard]] ItemLookup by_owner(ItemLookup lookup, int64_t owners);

}  // namespace pinnerformer
