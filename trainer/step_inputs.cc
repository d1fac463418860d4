// From a batch to what the loss is made of: pairs, pool and learned rows.
#include "trainer/step_inputs.h"

#include <algorithm>
#include <utility>

#include "dataloader/shard_plan.h"

namespace pinnerformer {
namespace {

// The pairs of this rank as columns.
struct PairColumns {
  std::vector<int64_t> row, place, item;
  std::vector<float> weight;

  PairColumns(const std::vector<Pair>& pairs, int64_t length, int64_t users_with_pairs) {
    for (const Pair& pair : pairs) {
      row.push_back(pair.row);
      place.push_back(pair.row * length + pair.position);
      item.push_back(pair.item);
      weight.push_back(static_cast<float>(pair.weight / static_cast<double>(users_with_pairs)));
    }
  }
};

// Pairs are in the order of their rows.
std::vector<int64_t> first_pairs(const std::vector<int64_t>& row, int64_t rows) {
  std::vector<int64_t> first;
  for (int64_t r = 0; r <= rows; ++r)
    first.push_back(std::ranges::lower_bound(row, r) - row.begin());
  return first;
}

}  // namespace

Trainer::StepInputs Trainer::StepInputs::part(int64_t first, int64_t count) const {
  if (count == std::ssize(first_pair) - 1) return *this;
  const int64_t begin = first_pair[static_cast<size_t>(first)];
  const int64_t pairs = first_pair[static_cast<size_t>(first + count)] - begin;
  const auto of_pairs = [&](const torch::Tensor& t) { return t.narrow(0, begin, pairs); };
  StepInputs part = *this;
  part.place = of_pairs(place) - first * length;
  part.item = of_pairs(item);
  part.softmax.positive_log_q = of_pairs(softmax.positive_log_q);
  part.softmax.row = of_pairs(softmax.row) - first;
  part.softmax.weight = of_pairs(softmax.weight);
  part.softmax.mask = softmax.mask.narrow(0, first, count);
  if (!rows.defined()) return part;
  part.lookup.inputs = lookup.inputs.narrow(0, first, count);
  part.lookup.positives = of_pairs(lookup.positives);
  return part;
}

torch::Tensor Trainer::StepInputs::rows_at(const torch::Tensor& places) const {
  return rows.defined() ? torch::embedding(rows, places) : torch::Tensor();
}

// Starts to fetch the learned rows; what follows here does not need them yet.
Trainer::StepInputs Trainer::step_inputs(const TrainingBatch& batch,
                                         const ObjectiveOptions& objective,
                                         NegativeSampler& sampler, int64_t step) {
  const std::vector<Pair> pairs = make_pairs(batch, objective);
  const GlobalPairs global = comm_wait_.time([&] {
    return gather_pairs(batch, pairs, max_pairs_per_row(objective, options_.model.max_length),
                        *ranks_.control);
  });
  settle(global.faults, batch);
  require_positives(global, batch.global_slots);
  const NegativePool pool = sampler.draw(global, batch, pairs, step);
  const PairColumns columns(pairs, batch.inputs.item.size(1), global.users_with_pairs);
  const Slice share = rank_slice(pool.item.size(0), ranks_.tensors->rank(), ranks_.tensors->size());
  const torch::Tensor mine = pool.item.narrow(0, share.first, share.count);

  StepInputs inputs;
  if (table_) {
    inputs.lookup = plan_lookup({batch.inputs, columns.item, mine}, rows_of_items_,
                                options_.item.id_table.unknown_rate, options_.run.seed, step);
    comm_wait_.time([&] { table_->request(inputs.lookup.rows); });
  }
  const auto on_device = [&](const torch::Tensor& t) { return t.to(ranks_.device); };
  const auto indices = [&](const std::vector<int64_t>& values) {
    return on_device(torch::tensor(values, torch::kInt64));
  };
  inputs.first_pair = first_pairs(columns.row, batch.inputs.users());
  inputs.place = indices(columns.place);
  inputs.item = indices(columns.item);
  inputs.pool = on_device(mine);
  inputs.columns = pool.item.size(0);
  inputs.length = batch.inputs.item.size(1);
  inputs.softmax.positive_log_q = on_device(pool.positive_log_q);
  inputs.softmax.pool_log_q = on_device(pool.log_q);
  inputs.softmax.row = indices(columns.row);
  inputs.softmax.mask = on_device(own_positive_mask(batch, pool.item));
  inputs.softmax.weight = on_device(torch::tensor(columns.weight, torch::kFloat32));
  return inputs;
}

void Trainer::receive_rows(StepInputs& step) {
  if (!table_) return;
  const torch::Tensor rows = comm_wait_.time([&] { return table_->receive(); });
  step.rows = rows.to(ranks_.device).requires_grad_(true);
  step.lookup.inputs = step.lookup.inputs.to(ranks_.device);
  step.lookup.positives = step.lookup.positives.to(ranks_.device);
  step.lookup.pool = step.lookup.pool.to(ranks_.device);
}

// `progress` is the learning rate's share of its peak: rows follow the schedule of the weights.
void Trainer::update_rows(double progress) {
  if (table_)
    comm_wait_.time([&] { table_->update(options_.item.id_table.learning_rate * progress); });
}

}  // namespace pinnerformer
