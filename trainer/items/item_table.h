// The item table: a learned row for each of millions of items, replicated on every rank or sharded
// over all. A step reads only the rows it uses, and updates these, or with `adam` all.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/ranks.h"
#include "comm/rows/row_exchange.h"
#include "trainer/optimizer/row_update.h"
#include "trainer/options.h"

namespace pinnerformer {

// A step, on every rank in this order:
//   table.request(rows);                 // starts to fetch
//   const Tensor values = table.receive();
//   ... loss.backward() ...
//   table.return_gradients(values.grad());
//   table.update(learning_rate, norm_of_the_gradient);
// The local losses must add up to the global one, as for GradientReducer. Gradients of one row are
// added in rank order, so that both placements end with the same bits.
//
// A row whose gradient is zero is neither updated nor counted, except that `adam` updates and
// counts every row in each step from its first gradient on. A row whose gradient is not finite
// counts as one whose gradient is zero: a training leaves such a step out as a whole
// (nan_unless_finite()). Rows are not part of clipping by the global norm: all update rules divide
// by the size of past gradients.
//
// Where the table is on the host and the model is not, the host waits twice in a step: for the
// gradients and for their norm. Where both are on one device it never waits.
class ItemTable {
 public:
  // Initial rows are uniform with standard deviation init_std, a function of (seed, row); the last
  // row is the unknown row. The communicators of `ranks` must outlive the table.
  ItemTable(const ItemTableOptions& options, const OptimizerOptions& optimizer, int64_t rows,
            int64_t seed, const Ranks& ranks);

  void request(const torch::Tensor& rows);  // int64 [U], distinct, on the CPU
  // float32 [U, E], as the gradients, on the device of the ranks.
  [[nodiscard]] torch::Tensor receive();
  void return_gradients(const torch::Tensor& gradients);
  // `norm`: float32 scalar of any device. Where it is not finite no row changes; undefined: finite.
  void update(double learning_rate, const torch::Tensor& norm = {});

  [[nodiscard]] int64_t rows() const { return rows_; }  // over all ranks
  [[nodiscard]] int64_t width() const { return values_.size(1); }
  [[nodiscard]] RowExchange& exchange() { return *exchange_; }
  [[nodiscard]] const OwnedRows& owned() const { return owned_; }

  // Local rows that changed since the last forget_changes(), int64 [n] ascending, on the CPU. Reads
  // all rows.
  [[nodiscard]] torch::Tensor changed_rows() const;
  void forget_changes();

  // Columns of the rows kept here, [owned, ...], sharing the table's memory, some of them strided:
  // "rows" (float32) and "updates" (int32, updates of the row); the update rule's state.
  [[nodiscard]] std::map<std::string, torch::Tensor> model_state() const;
  [[nodiscard]] std::map<std::string, torch::Tensor> training_state() const;

 private:
  int64_t rows_;
  torch::Device compute_device_;  // of the ranks; the table is on the device of storage_.records
  std::unique_ptr<RowExchange> exchange_;
  OwnedRows owned_;
  // A row's values are followed by its counters, so that one access to memory reads both. In a
  // large table cache misses take most of a step's time.
  RowStorage storage_;
  torch::Tensor values_;    // float32 [owned, E] of the records
  torch::Tensor counters_;  // int32 [owned, kRowCounters] of them
  RowRule rule_;
};

}  // namespace pinnerformer
