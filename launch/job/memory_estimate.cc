// Doubles throughout: the product of absurd sizes must not overflow.
#include "launch/job/memory_estimate.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "configs/errors.h"

namespace pinnerformer {
namespace {

constexpr double kFloat = 4;                  // bytes
constexpr double kTrainedFloat = 4 * kFloat;  // weight, gradient, two moments
constexpr double kSketches = 4;               // pair, user, in-batch, random

double real(int64_t number) { return static_cast<double>(number); }

std::vector<MemoryPart> model_parts(const ModelOptions& model) {
  const double hidden = real(model.hidden);
  return {{model.layers > model.hidden ? "model.layers" : "model.hidden",
           kTrainedFloat * 12 * real(model.layers) * hidden * hidden},
          {"model.max_length", kTrainedFloat * real(model.max_length) * hidden},
          {"model.output", kTrainedFloat * real(model.output) * hidden},
          {"model.item_hidden", kTrainedFloat * real(model.item_hidden) * real(model.output)},
          {"model.action_dim", kTrainedFloat * real(model.action_dim) * hidden},
          {"model.surface_dim", kTrainedFloat * real(model.surface_dim) * hidden}};
}

MemoryPart item_table_part(const ItemTableOptions& table, const MemoryScale& scale) {
  if (table.placement == ItemPlacement::kNone) return {"item.table.dim", 0};
  const bool hashed = table.hash_buckets > 0;
  const double rows = real(hashed ? table.hash_buckets : scale.items);
  const double copies = table.optimizer == RowOptimizerKind::kLazyAdam ? 3 : 1;
  const double share = table.placement == ItemPlacement::kRowSharded ? scale.ranks : 1;
  return {hashed && table.hash_buckets > scale.items ? "item.table.hash_buckets" : "item.table.dim",
          rows * real(table.dim) * copies * kFloat / share};
}

MemoryPart batch_part(const RunConfig& config, int ranks) {
  const double users = std::ceil(real(config.train.global_batch_users) / ranks /
                                 real(config.train.gradient_accumulation_steps));
  return {"train.global_batch_users",
          users * real(config.model.hidden) * kFloat * real(config.model.layers)};
}

std::string gib(double bytes) {
  std::string text = std::to_string(bytes / (1 << 30));
  return text.substr(0, text.find('.') + 2) + " GiB";
}

}  // namespace

std::vector<MemoryPart> memory_parts(const RunConfig& config, const MemoryScale& scale) {
  std::vector<MemoryPart> parts = model_parts(config.model);
  parts.push_back(item_table_part(config.item.table, scale));
  parts.push_back(batch_part(config, scale.ranks));
  const NegativeOptions& negatives = config.negatives;
  parts.push_back(
      {"negatives.sketch_width",
       kSketches * sizeof(int64_t) * real(negatives.sketch_width) * real(negatives.sketch_depth)});
  // The cap on in-batch negatives is no lower bound: a batch may have fewer positives.
  parts.push_back(
      {"negatives.random", real(negatives.random) * real(config.model.output) * kFloat});
  std::ranges::stable_sort(parts, std::greater(), &MemoryPart::bytes);
  return parts;
}

void require_memory(const RunConfig& config, const MemoryScale& scale, double available) {
  const std::vector<MemoryPart> parts = memory_parts(config, scale);
  double sum = 0;
  for (const MemoryPart& part : parts) sum += part.bytes;
  if (sum <= available) return;
  throw ConfigError("a rank of this training needs at least " + gib(sum) + " of memory, of which " +
                    parts.front().key + " takes " + gib(parts.front().bytes) +
                    "; this machine has " + gib(available) + ". Lower " + parts.front().key);
}

void require_memory(const RunConfig& config, const MemoryScale& scale) {
  require_memory(config, scale,
                 static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
                     static_cast<double>(::sysconf(_SC_PAGESIZE)));
}

}  // namespace pinnerformer
