#include "trainer/loop/step_inputs.h"

#include <algorithm>

#include "comm/packed_transfer.h"
#include "comm/rows/row_copy.h"

namespace pinnerformer {
namespace {

int64_t index_in(const std::vector<int64_t>& ascending, int64_t value) {
  return std::ranges::lower_bound(ascending, value) - ascending.begin();
}

// The pairs of this rank as columns, in the order of their rows.
struct PairColumns {
  std::vector<int64_t> row, positions, position_of_pair, item;  // see StepInputs
  std::vector<float> weight;

  PairColumns(const std::vector<Pair>& pairs, int64_t length, double total_weight) {
    const auto position = [&](const Pair& pair) { return pair.row * length + pair.position; };
    for (const Pair& pair : pairs) positions.push_back(position(pair));
    std::ranges::sort(positions);
    positions.erase(std::ranges::unique(positions).begin(), positions.end());
    for (const Pair& pair : pairs) {
      row.push_back(pair.row);
      position_of_pair.push_back(index_in(positions, position(pair)));
      item.push_back(pair.item);
      weight.push_back(static_cast<float>(pair.weight / total_weight));
    }
  }
};

// Where each row of the batch starts in an ascending column whose values are `step` apart.
std::vector<int64_t> starts(const std::vector<int64_t>& column, int64_t rows, int64_t step) {
  std::vector<int64_t> first;
  for (int64_t row = 0; row <= rows; ++row) first.push_back(index_in(column, row * step));
  return first;
}

StepInputs on_host(const TrainingBatch& batch, const StepPlan& plan,
                   const NegativeOptions& negatives) {
  const auto indices = [](const std::vector<int64_t>& values) {
    return torch::tensor(values, torch::kInt64);
  };
  StepInputs inputs;
  inputs.batch = batch.inputs;
  inputs.length = batch.inputs.item.size(1);
  const int64_t users = batch.inputs.users();
  const PairColumns columns(plan.pairs, inputs.length, plan.total_weight);
  inputs.first_pair = starts(columns.row, users, 1);
  inputs.first_position = starts(columns.positions, users, inputs.length);
  inputs.positions = indices(columns.positions);
  inputs.position_of_pair = indices(columns.position_of_pair);
  inputs.item = indices(columns.item);
  inputs.pool_share = plan.pool_share;
  inputs.columns = plan.pool.item.size(0);
  inputs.softmax.positive_log_q = plan.pool.positive_log_q;
  inputs.softmax.pool_log_q = plan.pool.log_q;
  inputs.softmax.weight = torch::tensor(columns.weight, torch::kFloat32);
  inputs.softmax.pool_item = plan.pool.item;
  inputs.softmax.row = indices(columns.row);
  if (negatives.mask == NegativeMask::kUserPositives)
    inputs.softmax.mask = user_positives_mask(batch, plan.pool.item);
  inputs.prior = plan.prior;
  inputs.topic = plan.topic;
  inputs.lookup = plan.lookup;
  return inputs;
}

void move_to(torch::Device device, StepInputs& inputs) {
  PackedTransfer transfer(device);
  Batch& batch = inputs.batch;
  for (torch::Tensor* tensor : {&batch.length, &batch.item, &batch.action, &batch.surface,
                                &batch.time, &batch.duration, &batch.draw_key})
    transfer.add(*tensor);
  SoftmaxInputs& softmax = inputs.softmax;
  for (torch::Tensor* tensor :
       {&softmax.positive_log_q, &softmax.pool_log_q, &softmax.weight, &softmax.pool_item,
        &softmax.row, &softmax.mask, &inputs.positions, &inputs.position_of_pair, &inputs.item,
        &inputs.pool_share, &inputs.topic, &inputs.prior.day_of_pair, &inputs.prior.positives,
        &inputs.prior.pool, &inputs.lookup.inputs, &inputs.lookup.positives, &inputs.lookup.pool})
    transfer.add(*tensor);
  transfer.run();
}

// The vectors of the batch come from the loader's thread. Those of the pairs and the pool are known
// from here on only.
void bring_vectors(const torch::Tensor& host_vectors, torch::Device device, StepInputs& inputs) {
  const int64_t pairs = inputs.item.numel(), pool = inputs.pool_share.numel();
  const torch::Tensor vectors = gather_rows(
      host_vectors, torch::cat({inputs.item, inputs.pool_share}), /*pinned=*/device.is_cuda());
  const torch::Tensor brought = vectors.to(device, /*non_blocking=*/true);
  inputs.item_vectors = brought.narrow(0, 0, pairs);
  inputs.pool_vectors = brought.narrow(0, pairs, pool);
  torch::Tensor& of_batch = inputs.batch.vectors;
  if (of_batch.defined()) of_batch = of_batch.to(device, /*non_blocking=*/true);
}

}  // namespace

void gather_vectors(const torch::Tensor& host_vectors, torch::Device device, Batch& batch) {
  std::vector<int64_t> shape = batch.item.sizes().vec();
  shape.push_back(host_vectors.size(1));
  batch.vectors =
      gather_rows(host_vectors, batch.item.flatten(), /*pinned=*/device.is_cuda()).view(shape);
}

StepInputs build_step_inputs(const TrainingBatch& batch, const StepPlan& plan,
                             const NegativeOptions& negatives, torch::Device device,
                             const torch::Tensor& host_vectors) {
  StepInputs inputs = on_host(batch, plan, negatives);
  if (host_vectors.defined()) bring_vectors(host_vectors, device, inputs);
  move_to(device, inputs);
  inputs.softmax.positive_item = inputs.item;
  inputs.softmax.prior_row = inputs.prior.day_of_pair;
  return inputs;
}

StepInputs StepInputs::part(int64_t first, int64_t count) const {
  if (count == std::ssize(first_pair) - 1) return *this;
  const int64_t begin = first_pair[static_cast<size_t>(first)];
  const int64_t pairs = first_pair[static_cast<size_t>(first + count)] - begin;
  const int64_t begin_position = first_position[static_cast<size_t>(first)];
  const int64_t end_position = first_position[static_cast<size_t>(first + count)];
  const auto of_pairs = [&](const torch::Tensor& t) { return t.narrow(0, begin, pairs); };
  StepInputs part = *this;
  part.batch = batch.rows(first, count);
  part.positions =
      positions.narrow(0, begin_position, end_position - begin_position) - first * length;
  part.position_of_pair = of_pairs(position_of_pair) - begin_position;
  part.item = of_pairs(item);
  if (topic.defined()) part.topic = of_pairs(topic);
  if (item_vectors.defined()) part.item_vectors = of_pairs(item_vectors);
  part.softmax.positive_log_q = of_pairs(softmax.positive_log_q);
  part.softmax.weight = of_pairs(softmax.weight);
  part.softmax.positive_item = part.item;
  part.softmax.row = of_pairs(softmax.row) - first;
  if (prior.pool.defined()) {
    part.prior.positives = of_pairs(prior.positives);
    part.softmax.prior_row = of_pairs(softmax.prior_row);
  }
  if (softmax.mask.defined()) part.softmax.mask = softmax.mask.narrow(0, first, count);
  if (!rows.defined()) return part;
  part.lookup.inputs = lookup.inputs.narrow(0, first, count);
  part.lookup.positives = of_pairs(lookup.positives);
  return part;
}

torch::Tensor StepInputs::rows_at(const torch::Tensor& index) const {
  return rows.defined() ? torch::embedding(rows, index) : torch::Tensor();
}

}  // namespace pinnerformer
