#include "launch/plan/plan.h"

#include <algorithm>

#include "configs/errors.h"
#include "launch/plan/figures.h"

namespace pinnerformer {
namespace {

double sum_where(const std::vector<PlanPart>& parts, bool (*wanted)(const PlanPart&)) {
  double sum = 0;
  for (const PlanPart& part : parts)
    if (wanted(part)) sum += part.value;
  return sum;
}

bool is_communication(const PlanPart& part) {
  return part.name.starts_with("sum of gradients") || part.name.starts_with("gather");
}
bool is_planning(const PlanPart& part) { return part.name == "plan of the step"; }
bool is_waiting(const PlanPart& part) { return part.name.starts_with("waiting"); }
bool is_on_device(const PlanPart& part) { return !part.on_host; }
bool is_any(const PlanPart&) { return true; }

double memory_of(const std::vector<PlanPart>& parts, const Machine& machine) {
  return sum_where(parts, machine.gpu ? is_on_device : is_any);
}

PlanPart largest_of(const std::vector<PlanPart>& parts) {
  return *std::ranges::max_element(parts, {}, &PlanPart::value);
}

// Of what memory_of() counts, without the program itself, which has one size.
PlanPart largest_memory_of(std::vector<PlanPart> parts, const Machine& machine) {
  std::erase_if(parts, [&](const PlanPart& part) {
    return part.name == "program" || (machine.gpu && part.on_host);
  });
  return largest_of(parts);
}

ScaleRow scale_row(const RunConfig& config, const DataShape& data, const Machine& machine,
                   double ranks) {
  ScaleRow row{.ranks = ranks};
  row.possible = ranks <= real(config.train.global_batch_users);
  if (!row.possible) return row;
  const StepShape shape = step_shape(config, data, ranks, machine.gpu);
  const std::vector<PlanPart> step = plan_step(config, shape, machine);
  row.communication_ms = sum_where(step, is_communication);
  row.plan_ms = sum_where(step, is_planning);
  row.straggler_ms = sum_where(step, is_waiting);
  row.step_ms = sum_of(step);
  row.compute_ms = row.step_ms - row.communication_ms - row.plan_ms - row.straggler_ms;
  row.users_per_second = shape.global_users / row.step_ms * kMilli;
  row.memory_bytes = memory_of(plan_memory(config, data, shape, machine), machine);
  return row;
}

std::vector<ScaleRow> scaling_table(const RunConfig& config, const DataShape& data,
                                    const Machine& machine) {
  std::vector<ScaleRow> rows;
  for (const double ranks : {1, 8, 64, 128, 1024}) {
    ScaleRow row = scale_row(config, data, machine, ranks);
    if (row.possible && !rows.empty())
      row.efficiency = row.users_per_second / (ranks * rows.front().users_per_second);
    rows.push_back(row);
  }
  return rows;
}

void plan_saves(Plan& plan, const RunConfig& config) {
  const CheckpointOptions& options = config.checkpoint;
  const double dense = plan.shape.parameters * 3 * kFloat + plan.data.items * kFloat;
  const double table = table_file_bytes(config, plan.data, plan.shape);
  const double disk = plan.machine.disk_write_gb_per_second * 1e9;
  plan.checkpoint_bytes = dense + table;
  plan.save_seconds = plan.checkpoint_bytes / disk;
  const double memory = plan.machine.memory_gb_per_second * 1e9;
  const double copied = table_is_copied(table, plan.machine) ? dense + table : dense;
  plan.stall_ms = (2 * copied / memory + (dense + table - copied) / disk) * kMilli;
  plan.stall_percent = 100 * plan.stall_ms / (real(options.every_steps) * plan.step_ms);
  plan.disk_bytes = plan.checkpoint_bytes * (real(options.keep_last) + 1);
}

}  // namespace

Plan make_plan(const RunConfig& config, const DataShape& data, const Machine& machine,
               double ranks) {
  constexpr double kStoredEventBytes = 20;  // item, action, surface, time, duration
  Plan plan;
  plan.machine = machine;
  plan.data = data;
  plan.shape = step_shape(config, data, ranks, machine.gpu);
  plan.memory = plan_memory(config, data, plan.shape, machine);
  plan.step = plan_step(config, plan.shape, machine);
  plan.memory_bytes = memory_of(plan.memory, machine);
  plan.step_ms = sum_of(plan.step);
  plan.users_per_second = plan.shape.global_users / plan.step_ms * kMilli;
  plan.epoch_seconds = data.users / plan.users_per_second;
  plan.read_bytes_per_second = plan.users_per_second * data.events_per_user * kStoredEventBytes;
  plan.slowest = largest_of(plan.step);
  plan.largest = largest_memory_of(plan.memory, machine);
  plan_saves(plan, config);
  plan.scaling = scaling_table(config, data, machine);
  return plan;
}

void require_fit(const Plan& plan) {
  const double available = plan.machine.memory_gib * kGiB;
  if (plan.memory_bytes <= available) return;
  throw ConfigError("a rank needs " + gib(plan.memory_bytes) + " of memory, " + plan.machine.name +
                    " has " + gib(available) + " for it. The largest part is '" +
                    plan.largest.name + "' with " + gib(plan.largest.value) +
                    (plan.largest.key.empty() ? ": use fewer items, narrower content vectors or a "
                                                "machine with more memory"
                                              : ": change " + plan.largest.key));
}

}  // namespace pinnerformer
