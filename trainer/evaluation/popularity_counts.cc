#include "trainer/evaluation/popularity_counts.h"

#include <cmath>

#include "dataloader/base/slice.h"
#include "dataloader/dataset/visit_timelines.h"
#include "dataloader/sampling/positives.h"

namespace pinnerformer {
namespace {

// Adds the first `events` events of one timeline to counts [I, spans].
void add_positives_of(const Timeline& timeline, int64_t events, const std::vector<uint8_t>& marks,
                      const std::vector<EvaluationWindow>& spans, int64_t* counts) {
  const auto width = std::ssize(spans);
  for (int64_t event = 0; event < events; ++event) {
    const auto at = static_cast<size_t>(event);
    if (marks[at] == 0) continue;
    const int64_t time = timeline.time[at];
    for (int64_t k = 0; k < width; ++k) {
      const EvaluationWindow& span = spans[static_cast<size_t>(k)];
      if (time > span.begin && time <= span.end) counts[timeline.item[at] * width + k] += 1;
    }
  }
}

}  // namespace

std::vector<EvaluationWindow> popularity_spans(const BaselineInputs& inputs,
                                               const std::vector<EvaluationWindow>& windows) {
  if (leaves_one_out(inputs.split))
    return {{.begin = inputs.dataset.first_time() - 1, .end = inputs.dataset.last_time()}};
  const double days = inputs.evaluate.popularity_days > 0 ? inputs.evaluate.popularity_days
                                                          : inputs.split.window_days;
  std::vector<EvaluationWindow> spans;
  for (const EvaluationWindow& window : windows)
    spans.push_back({.begin = window.begin - std::llround(days * 86400), .end = window.begin});
  return spans;
}

torch::Tensor count_popularity(const BaselineInputs& inputs,
                               const std::vector<EvaluationWindow>& spans, int64_t leave_out) {
  const Dataset& dataset = inputs.dataset;
  const PositiveRule rule = PositiveRule(inputs.positives, dataset).with_repeats();
  torch::Tensor counts = torch::zeros({dataset.items(), std::ssize(spans)}, torch::kInt64);
  const Slice users = rank_slice(dataset.users(), inputs.comm.rank(), inputs.comm.size());
  visit_timelines(dataset, users, [&](const Timeline& timeline) {
    add_positives_of(timeline, timeline.size() - leave_out, rule.mark(timeline), spans,
                     counts.mutable_data_ptr<int64_t>());
  });
  inputs.comm.all_reduce(counts, "popularity counts")->wait();
  return counts;
}

}  // namespace pinnerformer
