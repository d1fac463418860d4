#include "trainer/loop/step_inputs.h"

#include <algorithm>

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

ItemLookup on_device(ItemLookup lookup, torch::Device device) {
  for (torch::Tensor* index : {&lookup.inputs, &lookup.positives, &lookup.pool})
    *index = index->to(device);
  return lookup;
}

}  // namespace

StepInputs build_step_inputs(const TrainingBatch& batch, const StepPlan& plan,
                             const NegativeOptions& negatives, torch::Device device) {
  const auto indices = [&](const std::vector<int64_t>& values) {
    return torch::tensor(values, torch::kInt64).to(device);
  };
  const int64_t length = batch.inputs.item.size(1), users = batch.inputs.users();
  const PairColumns columns(plan.pairs, length, plan.total_weight);
  StepInputs inputs;
  inputs.first_pair = starts(columns.row, users, 1);
  inputs.first_position = starts(columns.positions, users, length);
  inputs.positions = indices(columns.positions);
  inputs.position_of_pair = indices(columns.position_of_pair);
  inputs.item = indices(columns.item);
  inputs.pool_share = plan.pool_share.to(device);
  inputs.columns = plan.pool.item.size(0);
  inputs.length = length;
  inputs.softmax.positive_log_q = plan.pool.positive_log_q.to(device);
  inputs.softmax.pool_log_q = plan.pool.log_q.to(device);
  inputs.softmax.weight = torch::tensor(columns.weight, torch::kFloat32).to(device);
  inputs.softmax.positive_item = inputs.item;
  inputs.softmax.pool_item = plan.pool.item.to(device);
  inputs.softmax.row = indices(columns.row);
  if (negatives.mask == NegativeMask::kUserPositives)
    inputs.softmax.mask = user_positives_mask(batch, plan.pool.item).to(device);
  if (plan.prior.pool.defined()) {
    inputs.prior = {plan.prior.day_of_pair.to(device), plan.prior.positives.to(device),
                    plan.prior.pool.to(device)};
    inputs.softmax.prior_row = inputs.prior.day_of_pair;
  }
  if (plan.topic.defined()) inputs.topic = plan.topic.to(device);
  if (plan.lookup.rows.defined()) inputs.lookup = on_device(plan.lookup, device);
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
  part.positions =
      positions.narrow(0, begin_position, end_position - begin_position) - first * length;
  part.position_of_pair = of_pairs(position_of_pair) - begin_position;
  part.item = of_pairs(item);
  if (topic.defined()) part.topic = of_pairs(topic);
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
