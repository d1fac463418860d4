// The item table: a learned row for each of millions of items, replicated on every rank or sharded
// over all. A step reads only the rows it uses, and updates these, or with `adam` all. Rows are in
// host memory, whatever the device of the model.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/rows/row_exchange.h"
#include "trainer/optimizer/row_optimizer.h"
#include "trainer/options.h"

namespace pinnerformer {

// A step, on every rank in this order:
//   table.request(rows);                 // starts to fetch
//   const Tensor values = table.receive();
//   ... loss.backward() ...
//   table.return_gradients(values.grad());
//   table.update(learning_rate);
// The local losses must add up to the global one, as for GradientReducer. Gradients of one row are
// added in rank order, so that both placements end with the same bits.
//
// A row whose gradient is zero is neither updated nor counted, except that `adam` updates and
// counts every row in each step from its first gradient on. A row whose gradient is not finite
// counts as one whose gradient is zero: a training leaves such a step out as a whole
// (rows_are_finite()). Rows are not part of clipping by the global norm: all update rules divide by
// the size of past gradients.
class ItemTable {
 public:
  // Initial rows are uniform with standard deviation init_std, a function of (seed, row); the last
  // row is the unknown row. Collectives use `comm`, which must outlive the table.
  ItemTable(const ItemTableOptions& options, const OptimizerOptions& optimizer, int64_t rows,
            int64_t seed, Communicator& comm);

  void request(const torch::Tensor& rows);  // int64 [U], distinct
  [[nodiscard]] torch::Tensor receive();    // float32 [U, E]
  void return_gradients(const torch::Tensor& gradients);
  void update(double learning_rate);
  void leave_out_step();  // instead of update(): no row changes

  [[nodiscard]] int64_t rows() const { return rows_; }  // over all ranks
  [[nodiscard]] int64_t width() const { return values_.size(1); }
  [[nodiscard]] RowExchange& exchange() { return *exchange_; }
  [[nodiscard]] const OwnedRows& owned() const { return owned_; }

  // Local rows that changed since the last forget_changes(), int64 [n] ascending. Reads all rows.
  [[nodiscard]] torch::Tensor changed_rows() const;
  void forget_changes();

  // Columns of the rows kept here, [owned, ...], sharing the table's memory, some of them strided:
  // "rows" (float32) and "updates" (int32, updates of the row); the update rule's state.
  [[nodiscard]] std::map<std::string, torch::Tensor> model_state() const;
  [[nodiscard]] std::map<std::string, torch::Tensor> training_state() const {
    return row_optimizer_->state();
  }

 private:
  // Adam for the rows that have no gradient in this step; `used` [owned] marks the others.
  void update_unused_rows(const std::vector<uint8_t>& used, double learning_rate);
  // `gradient` [E]; `square` is the mean of its squares. May run on several rows at once.
  void update_row(int64_t row, const float* gradient, float square, double learning_rate);

  int64_t rows_;
  std::unique_ptr<RowExchange> exchange_;
  OwnedRows owned_;
  // float32 [owned, E + 4]: a row's values followed by its counters, so that one access to memory
  // reads both. In a large table cache misses take most of a step's time.
  torch::Tensor records_;
  torch::Tensor values_;  // [owned, E] of them
  // [owned, 4] of them, as int32: updates of the row, the update rule's number (float32), and
  // whether the row changed since forget_changes().
  torch::Tensor counters_;
  std::unique_ptr<RowOptimizer> row_optimizer_;
  bool updates_unused_rows_;
};

}  // namespace pinnerformer
