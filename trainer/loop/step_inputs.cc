// From a batch to what the loss is made of: pairs, pool and learned rows.
#include "trainer/loop/step_inputs.h"

#include <algorithm>
#include <utility>

#include "dataloader/sampling/epoch_plan.h"

namespace pinnerformer {
namespace {

int64_t place_in(const std::vector<int64_t>& ascending, int64_t value) {
  return std::ranges::lower_bound(ascending, value) - ascending.begin();
}

// The pairs of this rank as columns, in the order of their rows.
struct PairColumns {
  std::vector<int64_t> row, places, place, item;  // see StepInputs
  std::vector<float> weight;

  // `weight_of_all`: of all pairs of the global batch.
  PairColumns(const std::vector<Pair>& pairs, int64_t length, double weight_of_all) {
    const auto position = [&](const Pair& pair) { return pair.row * length + pair.position; };
    for (const Pair& pair : pairs) places.push_back(position(pair));
    std::ranges::sort(places);
    places.erase(std::ranges::unique(places).begin(), places.end());
    for (const Pair& pair : pairs) {
      row.push_back(pair.row);
      place.push_back(place_in(places, position(pair)));
      item.push_back(pair.item);
      weight.push_back(static_cast<float>(pair.weight / weight_of_all));
    }
  }
};

// Where each row of the batch starts in an ascending column whose values are `step` apart.
std::vector<int64_t> starts(const std::vector<int64_t>& column, int64_t rows, int64_t step) {
  std::vector<int64_t> first;
  for (int64_t row = 0; row <= rows; ++row) first.push_back(place_in(column, row * step));
  return first;
}

}  // namespace

Trainer::StepInputs Trainer::StepInputs::part(int64_t first, int64_t count) const {
  if (count == std::ssize(first_pair) - 1) return *this;
  const int64_t begin = first_pair[static_cast<size_t>(first)];
  const int64_t pairs = first_pair[static_cast<size_t>(first + count)] - begin;
  const int64_t begin_place = first_place[static_cast<size_t>(first)];
  const int64_t places_here = first_place[static_cast<size_t>(first + count)] - begin_place;
  const auto of_pairs = [&](const torch::Tensor& t) { return t.narrow(0, begin, pairs); };
  StepInputs part = *this;
  part.places = places.narrow(0, begin_place, places_here) - first * length;
  part.place = of_pairs(place) - begin_place;
  part.item = of_pairs(item);
  part.softmax.positive_log_q = of_pairs(softmax.positive_log_q);
  part.softmax.weight = of_pairs(softmax.weight);
  part.softmax.positive_item = part.item;
  part.softmax.row = of_pairs(softmax.row) - first;
  if (softmax.mask.defined()) part.softmax.mask = softmax.mask.narrow(0, first, count);
  if (!rows.defined()) return part;
  part.lookup.inputs = lookup.inputs.narrow(0, first, count);
  part.lookup.positives = of_pairs(lookup.positives);
  return part;
}

torch::Tensor Trainer::StepInputs::rows_at(const torch::Tensor& at) const {
  return rows.defined() ? torch::embedding(rows, at) : torch::Tensor();
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
  const int64_t weight_of_all =
      objective.weighting == "pair" ? std::ssize(global.item) : global.users_with_pairs;
  const PairColumns columns(pairs, batch.inputs.item.size(1), static_cast<double>(weight_of_all));
  const Slice share = rank_slice(pool.item.size(0), ranks_.tensors->rank(), ranks_.tensors->size());
  const torch::Tensor mine = pool.item.narrow(0, share.first, share.count);

  StepInputs inputs;
  if (table_) {
    inputs.lookup =
        by_keeper(plan_lookup({batch.inputs, columns.item, mine}, rows_of_items_,
                              options_.item.id_table.unknown_rate, options_.run.seed, step),
                  table_->kept().stride);
    comm_wait_.time([&] { table_->request(inputs.lookup.rows); });
  }
  const auto on_device = [&](const torch::Tensor& t) { return t.to(ranks_.device); };
  const auto indices = [&](const std::vector<int64_t>& values) {
    return on_device(torch::tensor(values, torch::kInt64));
  };
  const int64_t length = batch.inputs.item.size(1);
  inputs.first_pair = starts(columns.row, batch.inputs.users(), 1);
  inputs.first_place = starts(columns.places, batch.inputs.users(), length);
  inputs.places = indices(columns.places);
  inputs.place = indices(columns.place);
  inputs.item = indices(columns.item);
  inputs.pool = on_device(mine);
  inputs.columns = pool.item.size(0);
  inputs.length = length;
  inputs.softmax.positive_log_q = on_device(pool.positive_log_q);
  inputs.softmax.pool_log_q = on_device(pool.log_q);
  inputs.softmax.weight = on_device(torch::tensor(columns.weight, torch::kFloat32));
  inputs.softmax.positive_item = inputs.item;
  inputs.softmax.pool_item = on_device(pool.item);
  inputs.softmax.row = indices(columns.row);
  if (options_.negatives.mask == "user_positives")
    inputs.softmax.mask = on_device(user_positives_mask(batch, pool.item));
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
  comm_wait_.time([&] { table_->update(options_.item.id_table.learning_rate * progress); });
}

// A step whose gradient is not finite moves no row either. The gradients of the rows came to the
// host already, so that reading the norm waits for little.
void Trainer::settle_rows(double progress) {
  if (!table_) return;
  if (grad_norm_.isfinite().item<bool>()) {
    update_rows(progress);
  } else {
    table_->leave_out_step();
  }
}

}  // namespace pinnerformer
