// Floats that a step keeps for its backward pass, counted along trainer/model/model.cc.
#include <algorithm>

#include "launch/plan/figures.h"
#include "launch/plan/plan_parts.h"

namespace pinnerformer {
namespace {

constexpr double kHalf = 2;  // bytes

// A product's operands are bfloat16, sums along the residual stream stay float32.
double bytes_of_float(const StepShape& shape) { return shape.bf16 ? 2.4 : kFloat; }

double encoder_bytes(const StepShape& shape) {
  const BlockCost& block = shape.block;
  const double inner = (shape.layers - 1) * shape.events * block.kept;
  const double last = shape.events * block.kept_of_all +
                      shape.queries * (block.kept - block.kept_of_all + 1);  // the input's own row
  const double scores = shape.layers * shape.events * shape.window * block.kept_scores;
  return ((inner + last) * shape.hidden + scores) * bytes_of_float(shape);
}

double input_bytes(const StepShape& shape) {
  constexpr double kTimeAngles = 3 * 76;  // one for each period, their sines and cosines
  return shape.events * (shape.input_width + kTimeAngles + 3 * shape.hidden) * kFloat;
}

double head_bytes(const StepShape& shape) {
  return shape.queries * (9 * shape.hidden + 3 * shape.output) * kFloat;
}

double tower_bytes(const StepShape& shape, double items) {
  return items * kFloat *
         (shape.item_width + 2 * shape.item_hidden + (3 + shape.code_levels) * shape.output);
}

// Gradients on their way back through a block, and what batches of other lengths leave unused.
double backward_bytes(const StepShape& shape) {
  return shape.events * 8 * shape.hidden * bytes_of_float(shape);
}

PlanPart activations(const RunConfig& config, const StepShape& shape) {
  double bytes = encoder_bytes(shape) + input_bytes(shape) + head_bytes(shape) +
                 tower_bytes(shape, shape.pairs) + backward_bytes(shape);
  if (config.model.user_head == UserHead::kResidual) bytes += tower_bytes(shape, shape.events);
  const std::string scores = shape.block.kept_scores > 0
                                 ? " and x S x " + short_number(shape.block.kept_scores)
                                 : std::string();
  return {"activations",
          config.train.gradient_accumulation_steps > 1 ? "train.global_batch_users"
                                                       : "train.gradient_accumulation_steps",
          "events x H x " + short_number(shape.block.kept) + scores +
              " a block, and inputs, heads, towers",
          bytes};
}

PlanPart pool(const StepShape& shape) {
  constexpr double kLogits = int64_t{1} << 22;  // of one chunk of pairs, at most
  const double embeddings = 2 * shape.pool * shape.output * kFloat;
  const double logits = 4 * std::min(kLogits, shape.pairs * shape.pool) * kFloat;
  const double mask = shape.users * shape.pool;
  return {"pool of negatives", "negatives.random",
          "pool x D x 8, its share of the item tower, logits of a chunk, mask",
          embeddings + logits + mask + tower_bytes(shape, shape.pool_share)};
}

// linear_by_onednn(): the widest layer's input and output once more, and compiled kernels.
PlanPart product_copies(const StepShape& shape, const Machine& machine) {
  constexpr double kWidest = 4, kKernelsMib = 60;
  constexpr double kLeastMultiplyAdds = int64_t{1} << 27;  // as in trainer/model/linear.cc
  const bool large = shape.events * shape.hidden * kWidest * shape.hidden >= kLeastMultiplyAdds;
  const bool copies = machine.onednn > 0 && !shape.bf16 && large;
  return {"copies for products", "train.gradient_accumulation_steps",
          "events x H x 8 and 60 MiB of kernels, where oneDNN multiplies",
          copies ? shape.events * 2 * kWidest * shape.hidden * kFloat + kKernelsMib * kMiB : 0};
}

// vectors_near(): a GPU holds them up to a size.
PlanPart item_vectors(const RunConfig& config, const DataShape& data, const Machine& machine) {
  const double bytes = data.items * data.content_width * kHalf;
  return {"item vectors", machine.gpu ? "data.device_vectors_mib" : "", "items x C x 2", bytes,
          /*on_host=*/bytes > real(config.data.device_vectors_mib) * kMiB};
}

PlanPart table(const RunConfig& config, const StepShape& shape, const Machine& machine) {
  constexpr double kCounters = 4;
  const ItemTableOptions& options = config.item.table;
  const double width = shape.table_rows == 0 ? 0 : real(options.dim);
  const double moments = options.optimizer == RowOptimizerKind::kRowwiseAdagrad ? 0 : 2 * width;
  const double kept = shape.table_rows * (width + kCounters + moments);
  const bool on_gpu = machine.gpu && options.on_device();
  const bool sharded = options.placement == ItemPlacement::kRowSharded;
  return {"item table",
          on_gpu    ? "item.table.memory"
          : sharded ? "item.table.dim"
                    : "item.table.placement",
          "rows of this rank x (E + 4, and 2 E with Adam) x 4, rows of the step",
          (kept + 3 * shape.step_rows * width) * kFloat, /*on_host=*/!on_gpu};
}

// A timeline's event takes 20 bytes, a label 16; five columns have a header each. While one buffer
// is delivered, the next is read.
PlanPart loader(const RunConfig& config, const DataShape& data, const StepShape& shape,
                const Machine& machine) {
  constexpr double kEventBytes = 20, kSampleBytes = 400, kLaneUsers = 16, kBuffers = 2;
  const double label_bytes = 16 * real(config.objective.max_labels);
  const double lanes = std::max(1.0, shape.global_users / kLaneUsers);
  const double buffer = std::min(
      data.users, lanes * real(config.data.shuffle_blocks) * real(config.data.block_users));
  const double samples = kBuffers * buffer / shape.ranks;
  const bool with_vectors = machine.gpu && item_vectors(config, data, machine).on_host;
  const double event_bytes = 40 + (with_vectors ? data.content_width * kHalf : 0);
  const double batches =
      real(config.data.prefetch_batches) * shape.users * shape.window * event_bytes;
  return {"loader", "data.shuffle_blocks", "2 shuffle buffers of windows, prefetched batches",
          samples * (shape.window * kEventBytes + label_bytes + kSampleBytes) + batches,
          /*on_host=*/true};
}

PlanPart checkpoint_copy(const RunConfig& config, const DataShape& data, const StepShape& shape,
                         const Machine& machine) {
  const double dense = shape.parameters * 3 * kFloat + data.items * kFloat;
  const double table = table_file_bytes(config, data, shape);
  const bool copied = table_is_copied(table, machine);
  return {"copy for a checkpoint", "",
          copied && table > 0 ? "parameters x 12, items x 4, the table; rank 0"
                              : "parameters x 12, items x 4; rank 0",
          copied ? dense + table : dense, /*on_host=*/true};
}

}  // namespace

double table_file_bytes(const RunConfig& config, const DataShape& data, const StepShape& shape) {
  const ItemTableOptions& table = config.item.table;
  if (table.placement == ItemPlacement::kNone) return 0;
  const bool sharded = table.placement == ItemPlacement::kRowSharded;
  const double rows = shape.table_rows * (sharded ? shape.ranks : 1);
  const double state =
      table.optimizer == RowOptimizerKind::kRowwiseAdagrad ? 1 : 2 * real(table.dim);
  return rows * (real(table.dim) + 1 + state) * kFloat + data.items * 8;
}

bool table_is_copied(double bytes, const Machine& machine) {
  constexpr double kShare = 4;
  return bytes <= machine.memory_gib * machine.ranks_per_node * kGiB / kShare;
}

std::vector<PlanPart> plan_memory(const RunConfig& config, const DataShape& data,
                                  const StepShape& shape, const Machine& machine) {
  std::vector<PlanPart> parts = {
      {"program", "", "the program and its libraries", machine.runtime_mib * kMiB},
      {"weights", "model.hidden", "parameters x 4", shape.parameters * kFloat},
      {"gradients", "model.hidden", "parameters x 4", shape.parameters * kFloat},
      {"optimizer", "model.hidden", "parameters x 8", shape.parameters * 2 * kFloat},
      activations(config, shape),
      pool(shape),
      product_copies(shape, machine),
      item_vectors(config, data, machine),
      {"counts of positives", "", "items x 4", data.items * kFloat, /*on_host=*/true},
      table(config, shape, machine),
      loader(config, data, shape, machine),
      checkpoint_copy(config, data, shape, machine)};
  if (shape.code_levels > 0)
    parts.push_back({"semantic ids", "item.semantic_ids", "items x L x 4",
                     data.items * shape.code_levels * kFloat});
  return parts;
}

double sum_of(const std::vector<PlanPart>& parts) {
  double sum = 0;
  for (const PlanPart& part : parts) sum += part.value;
  return sum;
}

}  // namespace pinnerformer
