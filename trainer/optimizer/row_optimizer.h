// How a row of a table moves against its gradient; state exists for every row, work only for the
// rows of a step.
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
  int64_t updates = 0;              // steps this row has taken, with this one
};

class RowOptimizer {
 public:
  virtual ~RowOptimizer() = default;
  // Moves `value` [E] against the gradient. Different rows may be moved by different threads.
  virtual void update(float* value, const RowStep& step, double learning_rate) = 0;
  // Asks for the memory of a row's state before it is needed; its number is there already.
  virtual void prefetch_state(int64_t row) const = 0;
  // By name, one row for every row of the table.
  [[nodiscard]] virtual std::map<std::string, torch::Tensor> state() const = 0;
};

// For a table of `rows` rows of `width` elements. `number` is a float of each row that the rule may
// keep, zero so far, float32 [rows] of any stride: it lies beside what the table itself counts.
//   rowwise_adagrad  s += mean(g^2);  value -= rate * g / (sqrt(s) + epsilon)       state "adagrad"
//   lazy_adam        Adam whose moments and step count stand still while the row is not used: bias
//                    is corrected by the row's own steps                 state "adam.m", "adam.v"
[[nodiscard]] std::unique_ptr<RowOptimizer> make_row_optimizer(RowOptimizerKind kind,
                                                               const OptimizerOptions& options,
                                                               torch::Tensor number, int64_t width);

}  // namespace pinnerformer
