#include "trainer/loop/step_trace.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

namespace pinnerformer {
namespace {

// Where the inputs of the row start in the timeline.
int64_t first_event(const Timeline& timeline, const Batch& batch, int64_t row) {
  const int64_t length = batch.length[row].item<int64_t>();
  for (int64_t first = 0; first + length <= timeline.size(); ++first) {
    bool same = true;
    for (int64_t s = 0; same && s < length; ++s) {
      const auto event = static_cast<size_t>(first + s);
      same = timeline.item[event] == batch.item[row][s].item<int64_t>() &&
             timeline.time[event] == batch.time[row][s].item<int64_t>();
    }
    if (same) return first;
  }
  throw std::logic_error("the window of a sample is no part of its user's timeline");
}

TracedEvent traced_event(const Timeline& timeline, const std::vector<uint8_t>& positive,
                         int64_t event) {
  const auto i = static_cast<size_t>(event);
  return {event, timeline.time[i], timeline.item[i], timeline.action[i], positive[i] != 0};
}

void trace_window(const TrainingData& data, const TrainingBatch& batch, int64_t row,
                  StepTrace& trace) {
  const Timeline timeline = data.dataset->timeline(trace.user);
  const std::vector<uint8_t> positive = data.positives(timeline);
  trace.timeline_events = timeline.size();
  trace.training_events = data.part.events(timeline.time);
  const int64_t first = first_event(timeline, batch.inputs, row);
  const int64_t length = batch.inputs.length[row].item<int64_t>();
  for (int64_t s = 0; s < length; ++s)
    trace.inputs.push_back(traced_event(timeline, positive, first + s));
  for (const Label& label : batch.labels[static_cast<size_t>(row)])
    trace.labels.push_back(traced_event(timeline, positive, first + label.event));
}

void trace_pool(const StepPlan& plan, StepTrace& trace) {
  for (int64_t j = 0; j < plan.pool.item.size(0); ++j) {
    auto& columns = j < plan.pool.in_batch ? trace.in_batch_columns : trace.random_columns;
    columns.push_back({plan.pool.item[j].item<int64_t>(), plan.pool.log_q[j].item<double>()});
  }
}

// Pair by pair by the plain formula of sampled_softmax_loss().
void trace_pairs(const StepPlan& plan, const SoftmaxInputs& in, int64_t row, StepTrace& trace) {
  const double scale = in.inverse_temperature.item<double>();
  trace.temperature = 1 / scale;
  for (size_t i = 0; i < plan.pairs.size(); ++i) {
    const Pair& pair = plan.pairs[i];
    if (pair.row != row) continue;
    const auto p = static_cast<int64_t>(i);
    TracedPair traced;
    traced.event = trace.inputs[static_cast<size_t>(pair.position)].event;
    traced.item = pair.item;
    const torch::Tensor vectors = in.user[p].view({-1, in.user.size(-1)});  // [K, D]
    traced.similarity = torch::mv(vectors, in.positive[p]).max().item<double>();
    traced.log_q = in.positive_log_q[p].item<double>();
    if (in.positive_prior.defined()) traced.prior = in.positive_prior[p].item<double>();
    traced.logit = traced.similarity * scale + traced.prior - traced.log_q;
    const torch::Tensor no_negative =
        in.mask.defined() ? in.mask[row] : in.pool_item == in.positive_item[p];
    torch::Tensor logits = torch::mm(in.pool, vectors.t()).amax(1) * scale - in.pool_log_q;
    if (in.pool_prior.defined()) logits += in.pool_prior[in.prior_row[p].item<int64_t>()];
    logits = logits.masked_select(no_negative.logical_not());
    traced.negatives = logits.numel();
    traced.pool_logit = torch::logsumexp(logits, 0).item<double>();
    const double gap = traced.pool_logit - traced.logit;
    traced.loss = std::max(gap, 0.0) + std::log1p(std::exp(-std::abs(gap)));  // exp(gap) overflows
    traced.weight = in.weight[p].item<double>();
    trace.pairs.push_back(traced);
  }
}

}  // namespace

std::optional<int64_t> row_of_user(const TrainingBatch& batch, int64_t user) {
  const auto found = std::ranges::find(batch.user, user);
  if (found == batch.user.end()) return std::nullopt;
  return found - batch.user.begin();
}

TracedWeight traced_weight(const std::string& name, const torch::Tensor& before,
                           const torch::Tensor& after) {
  const torch::Tensor gradient = after.grad();
  const int64_t largest = gradient.abs().argmax().item<int64_t>();
  const int64_t row = largest / after.size(1), column = largest % after.size(1);
  return {name + "[" + std::to_string(row) + "][" + std::to_string(column) + "]",
          before[row][column].item<double>(), gradient[row][column].item<double>(),
          after[row][column].item<double>()};
}

StepTrace trace_sample(const TrainingData& data, const TrainingBatch& batch, int64_t row,
                       const StepPlan& plan, const SoftmaxInputs& softmax) {
  StepTrace trace;
  trace.user = batch.user[static_cast<size_t>(row)];
  std::set<int64_t> rows;  // explain runs on one rank: these are all pairs
  for (const Pair& pair : plan.pairs) rows.insert(pair.row);
  trace.batch_users = std::ssize(rows);
  trace.batch_pairs = std::ssize(plan.pairs);
  trace_window(data, batch, row, trace);
  trace_pool(plan, trace);
  trace_pairs(plan, softmax, row, trace);
  return trace;
}

}  // namespace pinnerformer
