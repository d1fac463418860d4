// One user's sample followed through one training step, with the numbers of every stage.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "trainer/loop/step_plan.h"
#include "trainer/loop/training_data.h"
#include "trainer/objective/sampled_softmax.h"

namespace pinnerformer {

struct TracedEvent {
  int64_t event = 0;  // index in the user's timeline
  int64_t time = 0;   // seconds since 1970
  int64_t item = 0;   // row in the dataset, as below
  int64_t action = 0;
  bool positive = false;
};

// One pair of the user: position predicts item.
struct TracedPair {
  int64_t event = 0;      // of the position, index in the user's timeline
  int64_t item = 0;       // the positive
  double similarity = 0;  // <user, positive>, both of norm 1
  double prior = 0;       // of the positive, 0 without model.prior_days
  double log_q = 0;       // of the positive
  double logit = 0;       // similarity / temperature + prior - log_q
  double pool_logit = 0;  // log of the sum of exp over the columns that count as negatives
  int64_t negatives = 0;  // number of these columns
  double loss = 0;        // log(exp(logit) + exp(pool_logit)) - logit
  double weight = 0;      // its share of the global loss
};

struct TracedColumn {
  int64_t item = 0;
  double log_q = 0;
};

// One weight of the model in this step.
struct TracedWeight {
  std::string name;
  double before = 0;
  double gradient = 0;  // of the global loss, after clipping
  double after = 0;
};

struct StepTrace {
  int64_t step = 0;             // from 1
  int64_t epoch = 0;            // from 0
  int64_t user = 0;             // row in the dataset
  int64_t timeline_events = 0;  // of the user
  int64_t training_events = 0;  // those that training may see
  std::vector<TracedEvent> inputs;
  std::vector<TracedEvent> labels;
  std::vector<TracedPair> pairs;
  int64_t batch_users = 0;  // of the step, with and without a sample
  int64_t batch_pairs = 0;  // of all of them
  std::vector<TracedColumn> in_batch_columns;
  std::vector<TracedColumn> random_columns;
  double temperature = 0;
  double loss = 0;       // of the step, as in metrics.jsonl
  double grad_norm = 0;  // before clipping
  double learning_rate = 0;
  TracedWeight weight;  // of the user head, the one with the largest gradient
};

// The row of `user` in the batch; nothing where the batch has no sample of it.
[[nodiscard]] std::optional<int64_t> row_of_user(const TrainingBatch& batch, int64_t user);

// The element of a matrix whose gradient is largest, after a step that began with `before`.
[[nodiscard]] TracedWeight traced_weight(const std::string& name, const torch::Tensor& before,
                                         const torch::Tensor& after);

// What row `row` of the batch contributes to the step: all of the trace but the update. `softmax`
// holds all embeddings, on the CPU or not; its pool is that of one rank.
[[nodiscard]] StepTrace trace_sample(const TrainingData& data, const TrainingBatch& batch,
                                     int64_t row, const StepPlan& plan,
                                     const SoftmaxInputs& softmax);

}  // namespace pinnerformer
