// What a training would take and how fast it would be, from its configuration and a machine alone:
// `pinnerformer plan`.
#pragma once
#include <string>
#include <vector>

#include "launch/plan/plan_parts.h"

namespace pinnerformer {

struct ScaleRow {
  double ranks = 1;
  bool possible = true;  // a step has a user for every rank
  double compute_ms = 0, communication_ms = 0, plan_ms = 0, straggler_ms = 0;
  double step_ms = 0;
  double users_per_second = 0;
  double efficiency = 1;  // speed beside `ranks` times that of one rank
  double memory_bytes = 0;
};

struct Plan {
  Machine machine;
  DataShape data;
  StepShape shape;
  std::vector<PlanPart> memory;  // bytes of rank 0
  std::vector<PlanPart> step;    // milliseconds
  double memory_bytes = 0;       // that must fit into Machine::memory_gib
  double step_ms = 0;
  double users_per_second = 0;
  double epoch_seconds = 0;
  double read_bytes_per_second = 0;  // from the dataset, all ranks
  double checkpoint_bytes = 0;
  double save_seconds = 0;        // beside the training
  double stall_ms = 0;            // what the step waits for a save
  double stall_percent = 0;       // of the time between two saves
  double disk_bytes = 0;          // of a run directory, while a save is written
  PlanPart slowest, largest;      // what limits speed and memory
  std::vector<ScaleRow> scaling;  // the same global batch on 1, 8, 64, 128, 1,024 ranks
};

[[nodiscard]] Plan make_plan(const RunConfig& config, const DataShape& data, const Machine& machine,
                             double ranks);
// Throws ConfigError, naming the part that does not fit and its key, where a rank needs more memory
// than the machine has.
void require_fit(const Plan& plan);

}  // namespace pinnerformer
