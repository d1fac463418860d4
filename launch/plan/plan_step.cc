// Products are counted as 2 m n k operations; a backward pass has twice those of its forward pass.
#include <algorithm>
#include <cmath>

#include "launch/plan/figures.h"
#include "launch/plan/plan_parts.h"

namespace pinnerformer {
namespace {

constexpr double kPasses = 3;  // forward, and backward for inputs and for weights

double product_ms(double operations, const StepShape& shape, const Machine& machine) {
  return operations / ((shape.bf16 ? machine.bf16_tflops : machine.fp32_tflops) * 1e12) * kMilli;
}

double bytes_ms(double bytes, const Machine& machine) {
  return bytes / (machine.memory_gb_per_second * 1e9) * kMilli;
}

// Operations of the products of all blocks, forward: queries are wanted in the last one only where
// there are pairs.
double block_operations(const StepShape& shape) {
  const double square = shape.hidden * shape.hidden, gates = shape.gated ? 12 : 0;
  const double inner = (shape.layers - 1) * shape.events * (24 + gates) * square;
  return inner + shape.events * 4 * square + shape.queries * (20 + gates) * square;
}

double attention_operations(const StepShape& shape) {
  return shape.layers * shape.events * 2 * shape.window * shape.hidden;  // the causal half
}

double head_operations(const StepShape& shape) {
  return shape.queries * (8 * shape.hidden * shape.hidden + 8 * shape.hidden * shape.output);
}

double tower_operations(const StepShape& shape, double items) {
  return items * 2 * shape.item_hidden * (shape.item_width + shape.output);
}

// Kernels without products read and write what a block keeps a few times over.
double elementwise_bytes(const StepShape& shape) {
  constexpr double kTouches = 3;
  const double kept = shape.gated ? 28 : 16;
  const double blocks =
      ((shape.layers - 1) * shape.events * kept + shape.events * 6 + shape.queries * kept) *
      shape.hidden;
  const double inputs = shape.events * (2 * shape.input_width + 3 * shape.hidden);
  return kTouches * kFloat * (blocks + inputs);
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

std::vector<PlanPart> plan_step(const RunConfig& config, const StepShape& shape,
                                const Machine& machine) {
  const double parts = real(config.train.gradient_accumulation_steps);
  const double input = shape.events * 2 * shape.input_width * shape.hidden;
  const double encoder =
      product_ms(parts * kPasses * (block_operations(shape) + input + head_operations(shape)) +
                     parts * 3.5 * attention_operations(shape),
                 shape, machine);
  const double towers = product_ms(kPasses * (parts * tower_operations(shape, shape.pairs) +
                                              tower_operations(shape, shape.pool_share)),
                                   shape, machine);
  const double logits = parts * shape.pairs * shape.pool;
  const double softmax = product_ms(4 * logits * 2 * shape.output, shape, machine) +
                         bytes_ms(logits * kFloat * 12, machine);
  const double elementwise = bytes_ms(parts * elementwise_bytes(shape), machine);
  const double backward = (encoder + towers + softmax + elementwise) * 2 / 3;
  const double row_bytes = shape.step_rows * real(config.item.table.dim) * kFloat;
  std::vector<PlanPart> step = {
      {"encoder products", "model.hidden",
       "3 x (24 H^2 a block and event, inputs, heads, attention)", encoder},
      {"item tower products", "model.item_hidden", "3 x 2 x I x (C + E + D) x (pairs + pool / W)",
       towers},
      {"softmax over the pool", "negatives.random", "8 x D x pairs x pool, 12 passes over logits",
       softmax},
      {"other kernels", "model.hidden", "3 touches of what blocks and inputs keep", elementwise},
      {"optimizer", "model.hidden", "parameters x 4 x 10 bytes",
       bytes_ms(shape.parameters * kFloat * 10, machine)},
      {"item rows", "item.table.dim", "rows of the step x E x 4 x 6",
       bytes_ms(6 * row_bytes, machine) + sum_ms(row_bytes, 2, shape, machine)},
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
