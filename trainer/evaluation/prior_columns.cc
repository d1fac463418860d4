#include "trainer/evaluation/prior_columns.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "dataloader/sampling/positives.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {
namespace {

PopularityByDay::Mark marks_of(const Dataset& dataset, const PositiveOptions& positives) {
  return [rule = PositiveRule(positives, dataset)](const Timeline& timeline) {
    return rule.mark(timeline);
  };
}

}  // namespace

PriorSpan prior_span(const Dataset& dataset, const SplitOptions& split, int64_t delay_days) {
  constexpr int64_t kSecondsPerDay = 86400;
  const double days = static_cast<double>(split.windows) * split.window_days;
  return {evaluation_start(dataset, split) - delay_days * kSecondsPerDay,
          static_cast<int64_t>(std::floor(days)) + delay_days};
}

PriorColumns::PriorColumns(const Dataset& dataset, const PositiveOptions& positives,
                           const PriorSpan& span, std::vector<int64_t> windows, Communicator& comm)
    : popularity_(dataset, marks_of(dataset, positives), span.first, comm),
      days_(span.days + 1),
      windows_(std::move(windows)) {}

int64_t PriorColumns::width() const { return days_ * std::ssize(windows_); }

torch::Tensor PriorColumns::append_to_items(const torch::Tensor& vectors,
                                            const torch::Tensor& items) const {
  std::vector<int64_t> days(static_cast<size_t>(days_));
  std::iota(days.begin(), days.end(), int64_t{0});
  return torch::cat({vectors, popularity_.log_counts(items, days, windows_).flatten(0, 1).t()}, 1);
}

torch::Tensor PriorColumns::append_to_users(const torch::Tensor& vectors,
                                            const std::vector<HistoryPrefix>& prefixes,
                                            const torch::Tensor& weights) const {
  const int64_t windows = std::ssize(windows_);
  torch::Tensor columns = torch::zeros({std::ssize(prefixes), width()});
  for (size_t i = 0; i < prefixes.size(); ++i) {
    const int64_t day = std::clamp<int64_t>(popularity_.day_before(prefixes[i].time), 0, days_ - 1);
    columns[static_cast<int64_t>(i)].narrow(0, day * windows, windows).copy_(weights);
  }
  if (vectors.dim() == 3) columns = columns.unsqueeze(1).expand({-1, vectors.size(1), -1});
  return torch::cat({vectors, columns}, -1);
}

}  // namespace pinnerformer
