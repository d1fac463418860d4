// What a training step takes of a rank, part by part, each with the formula behind it.
#pragma once
#include <string>
#include <vector>

#include "launch/plan/machine.h"
#include "launch/plan/step_shape.h"

namespace pinnerformer {

struct PlanPart {
  std::string name;
  std::string key;       // of the configuration; lowering it makes the part smaller
  std::string formula;   // as shown to the user
  double value = 0;      // bytes or milliseconds
  bool on_host = false;  // memory of the host, where the model is on a GPU
};

// Bytes of a rank at the peak of a step, in the order they are explained in.
[[nodiscard]] std::vector<PlanPart> plan_memory(const RunConfig& config, const DataShape& data,
                                                const StepShape& shape, const Machine& machine);
// Operations of the products of a part of a step, forward; `pool` of the rank's share of the pool.
// Backward has twice as many.
struct StepOperations {
  double input = 0, blocks = 0, attention = 0, head = 0, towers = 0, pool = 0, logits = 0;
};
[[nodiscard]] StepOperations step_operations(const StepShape& shape);

// Milliseconds of a step of the slowest rank. Parts that hide behind others are not in it.
[[nodiscard]] std::vector<PlanPart> plan_step(const RunConfig& config, const StepShape& shape,
                                              const Machine& machine);

// The item table in a checkpoint: every row with its update count and its update rule's state, and
// a hash of every item.
[[nodiscard]] double table_file_bytes(const RunConfig& config, const DataShape& data,
                                      const StepShape& shape);
// Whether rank 0 copies a table of this size before it is written (ItemTableSaver).
[[nodiscard]] bool table_is_copied(double bytes, const Machine& machine);

[[nodiscard]] double sum_of(const std::vector<PlanPart>& parts);

}  // namespace pinnerformer
