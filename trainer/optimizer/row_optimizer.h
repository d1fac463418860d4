// Update rules for the rows of an item table. Every row has state.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "trainer/options.h"

namespace pinnerformer {

// One row in one step.
struct RowStep {
  int64_t row = 0;
  const float* gradient = nullptr;  // [E]
  float mean_square = 0;            // of the gradient
  int64_t updates = 0;              // updates of this row, including this one
};

class RowOptimizer {
 public:
  virtual ~RowOptimizer() = default;
  // Updates `value` [E]. Different rows may be updated by different threads.
  virtual void update(float* value, const RowStep& step, double learning_rate) = 0;
  // Prefetches the state of a row into the cache. The row's `number` lies beside its values, which
  // the table prefetches.
  virtual void prefetch_state(int64_t row) const = 0;
  // By name, one row for every row of the table.
  [[nodiscard]] virtual std::map<std::string, torch::Tensor> state() const = 0;
};

// For a table of `rows` rows of `width` elements. `number`, float32 [rows] of any stride, is one
// number of state for each row, initially zero; it lies beside the row's values in memory.
//   rowwise_adagrad  s += mean(g^2);  value -= rate * g / (sqrt(s) + epsilon)
//                    state: "adagrad"
//   lazy_adam        Adam whose moments and step count change only in steps that use the row;
//                    its bias correction uses the row's own count
//                    state: "adam.m", "adam.v"
//   adam             the same rule; the table updates every row in each step from its first
//                    gradient on, with a gradient of zero where the step does not use it
[[nodiscard]] std::unique_ptr<RowOptimizer> make_row_optimizer(RowOptimizerKind kind,
                                                               const OptimizerOptions& options,
                                                               torch::Tensor number, int64_t width);

}  // namespace pinnerformer
