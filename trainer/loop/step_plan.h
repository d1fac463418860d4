// What one training step will compute, decided on the host: the pairs of the loss, the pool of
// negatives, the item rows to read.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/ranks.h"
#include "dataloader/sampling/batch.h"
#include "trainer/items/item_lookup.h"
#include "trainer/items/item_table.h"
#include "trainer/items/popularity_by_day.h"
#include "trainer/loop/training_data.h"
#include "trainer/loop/wait_timer.h"
#include "trainer/objective/negative_sampler.h"
#include "trainer/objective/objective.h"
#include "trainer/objective/positive_exchange.h"
#include "trainer/options.h"

namespace pinnerformer {

// The counts of the popularity prior, with W = size of model.prior_days. Undefined without one.
struct PriorCounts {
  torch::Tensor day_of_pair;  // int64 [P], index of the pair's day among K days
  torch::Tensor positives;    // float32 [P, W], log counts of each pair's positive on its day
  torch::Tensor pool;         // float32 [K, W, N], of the columns on each day
};

// P: pairs of this rank. N: columns of the pool, over all ranks.
struct StepPlan {
  std::vector<Pair> pairs;   // [P] by row of the batch
  double total_weight = 0;   // of all pairs of the global batch: the loss is divided by it
  NegativePool pool;         // [N], the same on every rank
  torch::Tensor pool_share;  // int64 [n], the items this rank embeds for the pool
  PriorCounts prior;
  torch::Tensor topic;        // int64 [P], -1: hidden or unknown; undefined without a condition
  ItemLookup lookup;          // with an item table: its rows are on their way
  int64_t skipped_users = 0;  // of blocks that could not be read, on all ranks
  std::string note;           // why they were skipped; "": none were
  RankRequests requests;      // of any rank; where there are some, nothing else of the plan is made
};

// Makes the plan of every step of one objective. Every rank must call plan() for the same steps.
class StepPlanner {
 public:
  // `table` is null where items have no learned rows. `comm_wait` adds up the time spent waiting
  // for other ranks. Everything behind a pointer or reference must outlive the planner.
  StepPlanner(const TrainingData& data, const TrainerOptions& options,
              const ObjectiveOptions& objective, const Ranks& ranks, ItemTable* table,
              WaitTimer& comm_wait);

  // Exchanges the positives with the other ranks, draws the pool and requests the item rows.
  // `step` counts from 0; it keys the draws. `requests` are those of this rank. With
  // model.prior_days the first call counts the positives of all users. Throws, on all ranks
  // together, what any loader met, and DataError where a whole epoch had no pair.
  [[nodiscard]] StepPlan plan(const TrainingBatch& batch, int64_t step, RankRequests requests = {});

  [[nodiscard]] NegativeSampler& sampler() { return sampler_; }

 private:
  [[nodiscard]] std::vector<uint8_t> counted(const Timeline& timeline) const;
  void require_pairs(const GlobalPositives& global, int64_t users);
  [[nodiscard]] PriorCounts count_prior(const StepPlan& plan);
  [[nodiscard]] torch::Tensor topics_of(const TrainingBatch& batch,
                                        const std::vector<Pair>& pairs) const;
  [[nodiscard]] ItemLookup request_rows(const TrainingBatch& batch, const StepPlan& plan,
                                        int64_t step);

  const TrainingData& data_;
  const TrainerOptions& options_;
  ObjectiveOptions objective_;
  Ranks ranks_;
  ItemRows rows_of_items_;
  ItemTable* table_;
  WaitTimer& comm_wait_;
  NegativeSampler sampler_;
  std::optional<PopularityByDay> popularity_;  // for model.prior_days, from the first plan() on
  int64_t users_without_pairs_ = 0;            // since the last user with a pair
};

}  // namespace pinnerformer
