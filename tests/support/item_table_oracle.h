// The item table as a plain program would write it: one rank, dense gradients, every row at every
// step. What ItemTable must equal on any number of ranks.
#pragma once
#include <torch/types.h>

#include <map>
#include <string>

#include "comm/ranks.h"
#include "trainer/options.h"

namespace pinnerformer {

struct TableRun {
  ItemTableOptions table;
  OptimizerOptions optimizer;
  int64_t rows = 29;
  int64_t steps = 50;
};

// 29 rows of 5 elements; epsilon and rates at which float rounding does not grow.
[[nodiscard]] TableRun table_run(const std::string& placement, const std::string& optimizer);

// Trains a table for `run.steps` on rows and gradients that belong to (step, part): 12 parts, dealt
// to the ranks in order, of which some use no row at all. Returns whole_item_table().
[[nodiscard]] std::map<std::string, torch::Tensor> train_item_table(const TableRun& run,
                                                                    const Ranks& ranks);
// The same by the dense reference, from the same initial rows.
[[nodiscard]] std::map<std::string, torch::Tensor> train_dense_table(const TableRun& run,
                                                                     const torch::Tensor& initial);
// Rows before the first step.
[[nodiscard]] torch::Tensor initial_rows(const TableRun& run);

// max |found - expected| over all elements, relative to the largest of `expected`.
[[nodiscard]] double relative_error(const torch::Tensor& found, const torch::Tensor& expected);

}  // namespace pinnerformer
