#include "launch/plan/gpu_need.h"

#include <algorithm>
#include <functional>

#include "configs/errors.h"
#include "launch/plan/figures.h"

namespace pinnerformer {
namespace {

// "activations 48.10 GiB (train.gradient_accumulation_steps), ...": those that matter.
std::string largest_parts(const std::vector<PlanPart>& need) {
  constexpr double kMatters = 0.02;
  const double sum = sum_of(need);
  std::string text;
  for (const PlanPart& part : need) {
    if (part.value < kMatters * sum) continue;
    text += (text.empty() ? "" : ", ") + part.name + " " + gib(part.value);
    if (!part.key.empty()) text += " (" + part.key + ")";
  }
  return text;
}

}  // namespace

std::vector<PlanPart> gpu_need(const RunConfig& config, const DataShape& data, double ranks) {
  Machine machine;
  machine.gpu = true;
  std::vector<PlanPart> parts =
      plan_memory(config, data, step_shape(config, data, ranks, machine.gpu), machine);
  std::erase_if(parts, [](const PlanPart& part) { return part.on_host || part.value == 0; });
  std::ranges::stable_sort(parts, std::greater(), &PlanPart::value);
  return parts;
}

std::string require_gpu_memory(const std::vector<PlanPart>& need, double free,
                               const std::string& gpu) {
  constexpr double kDoubt = 1.25;  // by which an estimate may be too high
  const double sum = sum_of(need);
  if (sum <= free) return "";
  const std::string text = gpu + " has " + gib(free) + " free, and this training needs about " +
                           gib(sum) + " there: " + largest_parts(need);
  if (sum <= kDoubt * free) return text + ". It may run out of memory";
  throw ConfigError(text +
                    ". Change the keys in brackets (more train.gradient_accumulation_steps, "
                    "item.table.memory=host, less of the others), lower train.global_batch_users, "
                    "use more ranks, or end what else runs on the GPU");
}

}  // namespace pinnerformer
