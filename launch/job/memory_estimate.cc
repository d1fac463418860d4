// Doubles throughout: the product of absurd sizes must not overflow.
#include "launch/job/memory_estimate.h"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <iterator>

#include "configs/errors.h"

namespace pinnerformer {
namespace {

constexpr double kFloat = 4;                  // bytes
constexpr double kTrainedFloat = 4 * kFloat;  // weight, gradient, two moments

double real(int64_t number) { return static_cast<double>(number); }

struct Factor {
  const char* key;
  int64_t value;
  int64_t usual;  // the default of the key
};

// The part is named after the factor that is largest beside its usual value.
MemoryPart product(double bytes, std::initializer_list<Factor> factors) {
  MemoryPart part{"", bytes};
  double most = 0;
  for (const Factor& factor : factors) {
    part.bytes *= real(factor.value);
    const double excess = real(factor.value) / real(factor.usual);
    if (excess > most) part.key = factor.key;
    most = std::max(most, excess);
  }
  return part;
}

// Matrices of H * H numbers that a block has at least.
double matrices_of(BlockKind block) {
  switch (block) {
    case BlockKind::kTransformer:
      return 12;  // attention 4, feed-forward 8
    case BlockKind::kLigr:
      return 18;  // and gates 2, another expansion 4
    case BlockKind::kHstu:
      return 5;  // U, Q, V, K and the output
    case BlockKind::kLru:
      return 12;  // recurrence 4, feed-forward 8
  }
  throw ConfigError("model.block is none of those known");
}

std::vector<MemoryPart> model_parts(const ModelOptions& model) {
  const ModelOptions usual;
  const Factor hidden{"model.hidden", model.hidden, usual.hidden};
  const Factor output{"model.output", model.output, usual.output};
  const Factor item_hidden{"model.item_hidden", model.item_hidden, usual.item_hidden};
  return {
      product(kTrainedFloat * matrices_of(model.block),
              {{"model.layers", model.layers, usual.layers}, hidden, hidden}),
      product(model.features.position ? kTrainedFloat : 0,
              {{"model.max_length", model.max_length, usual.max_length}, hidden}),
      product(kTrainedFloat,
              {output, hidden, {"model.user_vectors", model.user_vectors, usual.user_vectors}}),
      product(kTrainedFloat, {item_hidden, output}),
      product(kTrainedFloat, {{"model.action_dim", model.action_dim, usual.action_dim}, hidden}),
      product(kTrainedFloat,
              {{"model.surface_dim", model.surface_dim, usual.surface_dim}, hidden})};
}

MemoryPart item_table_part(const ItemTableOptions& table, const MemoryScale& scale) {
  if (table.placement == ItemPlacement::kNone) return {"item.table.dim", 0};
  const double copies = table.optimizer == RowOptimizerKind::kRowwiseAdagrad ? 1 : 3;
  const double ranks = table.placement == ItemPlacement::kRowSharded ? scale.ranks : 1;
  const int64_t rows = table.hash_buckets > 0 ? table.hash_buckets : scale.items;
  return product(copies * kFloat / ranks,
                 {{"item.table.dim", table.dim, ItemTableOptions().dim},
                  {"item.table.hash_buckets", rows, std::max<int64_t>(1, scale.items)}});
}

// A user of a batch has at least one event.
MemoryPart batch_part(const RunConfig& config, int ranks) {
  const double parts = ranks * real(config.train.gradient_accumulation_steps);
  return product(kFloat / parts, {{"train.global_batch_users", config.train.global_batch_users,
                                   TrainOptions().global_batch_users},
                                  {"model.hidden", config.model.hidden, ModelOptions().hidden},
                                  {"model.layers", config.model.layers, ModelOptions().layers}});
}

std::vector<MemoryPart> negatives_parts(const RunConfig& config) {
  const NegativeOptions& negatives = config.negatives;
  const NegativeOptions usual;
  // The cap on in-batch negatives is no lower bound: a batch may have fewer positives.
  return {product(kFloat, {{"negatives.random", negatives.random, usual.random},
                           {"model.output", config.model.output, ModelOptions().output}})};
}

}  // namespace

std::string gib_text(double bytes) {
  std::string text = std::to_string(bytes / (1 << 30));
  return text.substr(0, text.find('.') + 2) + " GiB";
}

std::vector<MemoryPart> memory_parts(const RunConfig& config, const MemoryScale& scale) {
  std::vector<MemoryPart> parts = model_parts(config.model);
  parts.push_back(item_table_part(config.item.table, scale));
  parts.push_back(batch_part(config, scale.ranks));
  std::ranges::move(negatives_parts(config), std::back_inserter(parts));
  std::ranges::stable_sort(parts, std::greater(), &MemoryPart::bytes);
  return parts;
}

void require_memory(const RunConfig& config, const MemoryScale& scale, double available) {
  const std::vector<MemoryPart> parts = memory_parts(config, scale);
  double sum = 0;
  for (const MemoryPart& part : parts) sum += part.bytes;
  if (sum <= available) return;
  throw ConfigError("a rank of this training needs at least " + gib_text(sum) +
                    " of memory, of which " + parts.front().key + " takes " +
                    gib_text(parts.front().bytes) + "; this machine has " + gib_text(available) +
                    ". Lower " + parts.front().key);
}

void require_memory(const RunConfig& config, const MemoryScale& scale) {
  require_memory(config, scale,
                 static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
                     static_cast<double>(::sysconf(_SC_PAGESIZE)));
}

}  // namespace pinnerformer
