// What a step takes of time: products, other kernels, exchanges and what is fixed.
#include <algorithm>
#include <cmath>

#include "launch/plan/figures.h"
#include "launch/plan/plan_parts.h"

namespace pinnerformer {
namespace {

double product_ms(double operations, const StepShape& shape, const Machine& machine) {
  return operations / ((shape.bf16 ? machine.bf16_tflops : machine.fp32_tflops) * 1e12) * kMilli;
}

double bytes_ms(double bytes, const Machine& machine) {
  return bytes / (machine.memory_gb_per_second * 1e9) * kMilli;
}

// Matrices of all blocks: in the last one only positions with pairs meet them all.
double matrix_operations(const StepShape& shape) {
  const BlockCost& block = shape.block;
  return 2 * ((shape.layers - 1) * shape.events * block.matrices +
              shape.events * block.matrices_of_all +
              shape.queries * (block.matrices - block.matrices_of_all));
}

// Kernels without products read and write what a block keeps a few times over.
double elementwise_bytes(const StepShape& shape) {
  const BlockCost& block = shape.block;
  const double inner = block_touched_bytes(block, (shape.layers - 1) * shape.events, shape.hidden);
  const double last =
      (shape.events * (block.kept_of_all + 1) + shape.queries * block.kept) * shape.hidden;
  const double scores = shape.layers * shape.events * shape.window * block.kept_scores;
  const double inputs = shape.events * (2 * shape.input_width + 3 * shape.hidden);
  return inner + kTouches * kFloat * (last + scores + inputs);
}

struct Link {
  double gb_per_second, latency_us;
};

// The slowest way a sum over all ranks takes.
Link link_of(double ranks, const Machine& machine) {
  if (ranks <= machine.ranks_per_node)
    return {machine.local_gb_per_second, machine.local_latency_us};
  return {std::min(machine.local_gb_per_second, machine.network_gb_per_second),
          machine.network_latency_us};
}

double sum_ms(double bytes, double messages, const StepShape& shape, const Machine& machine) {
  if (shape.ranks <= 1) return 0;
  const Link link = link_of(shape.ranks, machine);
  const double hops = std::log2(shape.ranks);
  return (2 * (shape.ranks - 1) / shape.ranks * bytes / (link.gb_per_second * 1e9) +
          messages * hops * link.latency_us * 1e-6) *
         kMilli;
}

// Expected largest of `ranks` normal deviations, in standard deviations.
double largest_of(double ranks) { return ranks <= 1 ? 0 : std::sqrt(2 * std::log(ranks)); }

PlanPart exposed_gradients(const RunConfig& config, const StepShape& shape, const Machine& machine,
                           double backward_ms) {
  const double bytes =
      shape.parameters * (config.comm.reduce_dtype == ReduceDtype::kBf16 ? kFloat / 2 : kFloat);
  const double bucket =
      std::min(bytes, bucket_mib_for(config.comm, shape.ranks, machine.gpu) * kMiB);
  const double whole = sum_ms(bytes, std::ceil(bytes / bucket), shape, machine);
  // A GPU sums while it differentiates. On CPUs the same cores do both.
  const double hidden = machine.gpu ? backward_ms : 0;
  return {"sum of gradients, exposed", "comm.reduce_dtype",
          machine.gpu ? "2 (W-1)/W x parameters x 4 / link, beyond backward; the last bucket"
                      : "2 (W-1)/W x parameters x 4 / link",
          shape.ranks <= 1 ? 0 : std::max(whole - hidden, sum_ms(bucket, 1, shape, machine))};
}

}  // namespace

StepOperations step_operations(const StepShape& shape) {
  const double attention = shape.block.attention_passes > 0 ? shape.layers : 0;
  return {.input = shape.events * 2 * shape.input_width * shape.hidden,
          .blocks = matrix_operations(shape),
          .attention = attention * attention_operations(shape.events, shape.window, shape.hidden),
          .head = shape.head_rows * 2 * shape.head_elements,
          .towers = shape.tower_rows * 2 * shape.tower_elements,
          .pool = shape.pool_share * 2 * shape.tower_elements,
          .logits = shape.pairs * shape.pool * 2 * shape.output * shape.user_vectors};
}

std::vector<PlanPart> plan_step(const RunConfig& config, const StepShape& shape,
                                const Machine& machine) {
  const double parts = real(config.train.gradient_accumulation_steps);
  const StepOperations of = step_operations(shape);
  const double encoder = product_ms(parts * (kPasses * (of.blocks + of.input + of.head) +
                                             shape.block.attention_passes * of.attention),
                                    shape, machine);
  const double towers = product_ms(kPasses * (parts * of.towers + of.pool), shape, machine);
  const double softmax = product_ms(kPasses * parts * of.logits, shape, machine) +
                         bytes_ms(parts * shape.pairs * shape.pool * kFloat * 4, machine);
  const double elementwise = bytes_ms(parts * elementwise_bytes(shape), machine);
  const double backward = (encoder + towers + softmax + elementwise) * 2 / 3;
  const double row_bytes = shape.step_rows * real(config.item.table.dim) * kFloat;
  const bool all_rows = config.item.table.optimizer == RowOptimizerKind::kAdam;
  const double updated_bytes =
      all_rows ? shape.table_rows * real(config.item.table.dim) * kFloat : row_bytes;
  std::vector<PlanPart> step = {
      {"encoder products", "model.hidden",
       "3 x (" + short_number(2 * shape.block.matrices / (shape.hidden * shape.hidden)) +
           " H^2 a block and event, inputs, heads" +
           (shape.block.attention_passes > 0 ? ", attention)" : ")"),
       encoder},
      {"item tower products", "model.item_hidden",
       "3 x 2 x weights of the tower x (pairs + pool / W)", towers},
      {"softmax over the pool", "negatives.random",
       "6 x D x K x pairs x pool, 4 passes over logits", softmax},
      {"other kernels", "model.hidden", "3 touches of what blocks and inputs keep", elementwise},
      {"optimizer", "model.hidden", "parameters x 4 x 10 bytes",
       bytes_ms(shape.parameters * kFloat * 10, machine)},
      {"item rows", "item.table.dim",
       all_rows ? "rows of this rank x E x 4 x 6" : "rows of the step x E x 4 x 6",
       bytes_ms(6 * updated_bytes, machine) + sum_ms(row_bytes, 2, shape, machine)},
      {"plan of the step", "train.global_batch_users", "pairs of the rank: batch, labels, look-ups",
       parts * shape.pairs * machine.pair_overhead_us / kMilli},
      {"fixed costs", "", "of the machine", machine.step_overhead_ms},
      exposed_gradients(config, shape, machine, backward),
      {"gather of the pool", "negatives.random", "pool x D x 4, there and back",
       sum_ms(shape.pool * shape.output * kFloat, 4, shape, machine)}};
  step.push_back({"waiting for the slowest rank", "", "deviation x sqrt(2 ln W) x the above",
                  sum_of(step) * machine.straggler_percent / 100 * largest_of(shape.ranks)});
  return step;
}

}  // namespace pinnerformer
