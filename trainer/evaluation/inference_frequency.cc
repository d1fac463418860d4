// Groups the positives of a case by the user vector that ranks them.
#include "trainer/evaluation/inference_frequency.h"

#include <algorithm>
#include <stdexcept>

namespace pinnerformer {
namespace {

constexpr int64_t kDay = 86400;

// The last vector made before `event`, without its targets.
CaseQuery query_before(const EvaluationCase& evaluation, int64_t event,
                       InferenceFrequency frequency, int64_t daily_delay_days) {
  const std::vector<int64_t>& times = evaluation.timeline->time;
  switch (frequency) {
    case InferenceFrequency::kOnce:
      return {.length = evaluation.length, .time = evaluation.time, .targets = {}};
    case InferenceFrequency::kDaily: {
      // A positive exactly at the end of a day still belongs to that day, hence the - 1.
      const int64_t days = (times[static_cast<size_t>(event)] - evaluation.time - 1) / kDay;
      const int64_t made =
          std::max(evaluation.time + (days - daily_delay_days) * kDay, times.front());
      const auto end = std::upper_bound(times.begin(), times.end(), made);
      return {.length = end - times.begin(), .time = made, .targets = {}};
    }
    case InferenceFrequency::kRealtime: {
      const auto same =
          std::lower_bound(times.begin(), times.end(), times[static_cast<size_t>(event)]);
      return {.length = same - times.begin(),
              .time = times[static_cast<size_t>(event)] - 1,
              .targets = {}};
    }
  }
  throw std::logic_error("queries_of_case: an inference frequency is not handled");
}

}  // namespace

std::vector<CaseQuery> queries_of_case(const EvaluationCase& evaluation,
                                       InferenceFrequency frequency, int64_t daily_delay_days) {
  std::vector<CaseQuery> queries;
  for (size_t i = 0; i < evaluation.positives.size(); ++i) {
    CaseQuery query = query_before(evaluation, evaluation.events[i], frequency, daily_delay_days);
    // Positives are in time order, so those of one vector are neighbours. Two days without an event
    // between them have the same history, but vectors made at different times.
    const bool same = !queries.empty() && queries.back().length == query.length &&
                      queries.back().time == query.time;
    if (!same) queries.push_back(std::move(query));
    queries.back().targets.push_back(evaluation.positives[i]);
  }
  return queries;
}

}  // namespace pinnerformer
