#include "trainer/loop/step_plan.h"

#include <algorithm>

#include "comm/communicator.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "dataloader/base/slice.h"
#include "trainer/items/unique.h"

namespace pinnerformer {

StepPlanner::StepPlanner(const TrainingData& data, const TrainerOptions& options,
                         const ObjectiveOptions& objective, const Ranks& ranks, ItemTable* table,
                         WaitTimer& comm_wait)
    : data_(data),
      options_(options),
      objective_(objective),
      ranks_(ranks),
      rows_of_items_(options.item.table, *data.dataset),
      table_(table),
      comm_wait_(comm_wait),
      sampler_(options.negatives, data.dataset->items(), options.run.seed) {}

StepPlan StepPlanner::plan(const TrainingBatch& batch, int64_t step, RankRequests requests) {
  StepPlan plan;
  plan.pairs = make_pairs(batch, objective_);
  const GlobalPositives global = comm_wait_.time([&] {
    return gather_positives(batch, plan.pairs, pool_positives(batch, plan.pairs, objective_),
                            *ranks_.control, requests);
  });
  plan.requests = global.requests;
  if (plan.requests.any()) return plan;
  plan.note = share_faults(global.faults, batch, *ranks_.control);
  plan.skipped_users = global.faults.skipped_users;
  require_pairs(global, batch.global_slots);
  plan.total_weight = static_cast<double>(
      objective_.weighting == PairWeighting::kPair ? global.pairs : global.users_with_pairs);
  plan.pool =
      comm_wait_.time([&] { return sampler_.draw(global, plan.pairs, step, *ranks_.control); });
  const Slice share =
      rank_slice(plan.pool.item.size(0), ranks_.tensors->rank(), ranks_.tensors->size());
  plan.pool_share = plan.pool.item.narrow(0, share.first, share.count);
  if (!options_.model.prior_days.empty()) plan.prior = count_prior(plan);
  if (options_.model.condition == Condition::kTopic) plan.topic = topics_of(batch, plan.pairs);
  if (table_ != nullptr) plan.lookup = request_rows(batch, plan, step);
  return plan;
}

PriorCounts StepPlanner::count_prior(const StepPlan& plan) {
  if (!popularity_)
    popularity_.emplace(
        *data_.dataset, [this](const Timeline& timeline) { return counted(timeline); },
        data_.part.train_until, *ranks_.control);
  const PopularityByDay& popularity = *popularity_;
  const std::vector<int64_t>& windows = options_.model.prior_days;
  std::vector<int64_t> items, day_of_pair, age_of_pair;  // no pair is after day 0
  for (const Pair& pair : plan.pairs) {
    items.push_back(pair.item);
    day_of_pair.push_back(popularity.day_before(pair.time));
    age_of_pair.push_back(-day_of_pair.back());
  }
  const Unique ages = unique(age_of_pair);
  std::vector<int64_t> days;
  for (const int64_t age : ages.values) days.push_back(-age);
  PriorCounts prior;
  prior.day_of_pair = torch::tensor(ages.position, torch::kInt64);
  prior.positives =
      popularity.log_counts_each(torch::tensor(items, torch::kInt64), day_of_pair, windows);
  prior.pool = popularity.log_counts(plan.pool.item, days, windows);
  return prior;
}

// Of each pair the topic of its positive, hidden by draws that are keyed by the pair's row: they
// are the same on any number of ranks.
torch::Tensor StepPlanner::topics_of(const TrainingBatch& batch,
                                     const std::vector<Pair>& pairs) const {
  const std::vector<int32_t>& topics = data_.dataset->item_topics();
  const int64_t* keys = batch.inputs.draw_key.const_data_ptr<int64_t>();
  std::vector<int64_t> of_pairs;
  int64_t row = -1, place = 0;  // of the pair among those of its row
  for (const Pair& pair : pairs) {
    place = pair.row == row ? place + 1 : 0;
    row = pair.row;
    KeyedRandom random(RandomStream::kCondition, {keys[row], place});
    const bool hidden = random.uniform() < options_.model.condition_dropout;
    of_pairs.push_back(hidden ? -1 : topics[static_cast<size_t>(pair.item)]);
  }
  return torch::tensor(of_pairs, torch::kInt64);
}

// The positives of a timeline that training may see.
std::vector<uint8_t> StepPlanner::counted(const Timeline& timeline) const {
  std::vector<uint8_t> marks = data_.positives(timeline);
  std::fill(marks.begin() + data_.part.events(timeline.time), marks.end(), uint8_t{0});
  return marks;
}

void StepPlanner::require_pairs(const GlobalPositives& global, int64_t users) {
  users_without_pairs_ = global.users_with_pairs > 0 ? 0 : users_without_pairs_ + users;
  if (users_without_pairs_ >= data_.users.size())
    throw DataError(
        data_.dataset->directory() + " has nothing to learn from: in a whole epoch no " +
        "user had a positive action within objective.window_days or window_events after another " +
        "event (with objective.recent_days one of the last days); see positives.actions and "
        "`pinnerformer data inspect`");
}

ItemLookup StepPlanner::request_rows(const TrainingBatch& batch, const StepPlan& plan,
                                     int64_t step) {
  std::vector<int64_t> positives;
  for (const Pair& pair : plan.pairs) positives.push_back(pair.item);
  ItemLookup lookup =
      by_owner(plan_lookup({batch.inputs, positives, plan.pool_share}, rows_of_items_,
                           options_.item.table.unknown_rate, options_.run.seed, step),
               table_->owned().stride);
  comm_wait_.time([&] { table_->request(lookup.rows); });
  return lookup;
}

}  // namespace pinnerformer
