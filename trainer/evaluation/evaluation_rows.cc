#include "trainer/evaluation/evaluation_rows.h"

#include <utility>

namespace pinnerformer {
namespace {

// The first row, or another one of the first method at the frequency of a row of another.
const EvaluationRow& reference_of(const std::vector<EvaluationRow>& rows,
                                  const EvaluationRow& row) {
  const std::string& first = rows.front().result.method;
  if (row.result.method != first)
    for (const EvaluationRow& other : rows)
      if (other.result.method == first && other.result.frequency == row.result.frequency)
        return other;
  return rows.front();
}

}  // namespace

EvaluationRow make_row(MethodResult row, const std::vector<RetrievalMetrics>& metrics,
                       const std::vector<std::vector<MetricSums>>& users, int64_t resamples,
                       int64_t seed) {
  EvaluationRow made{.result = std::move(row), .samples = resample(users, resamples, seed)};
  made.result.metrics = mean_of(metrics);
  made.result.standard_errors = spread(made.samples);
  for (size_t i = 0; i < kMetricNames.size(); ++i)
    made.result.intervals[i] = interval_95(made.samples, kMetricNames[i].metric);
  return made;
}

void compare_with_references(std::vector<EvaluationRow>& rows) {
  for (EvaluationRow& row : rows) {
    const EvaluationRow& reference = reference_of(rows, row);
    if (&reference == &row) continue;
    row.result.reference = reference.result.method;
    row.result.reference_frequency = reference.result.frequency;
    for (size_t i = 0; i < kMetricNames.size(); ++i)
      row.result.differences[i] =
          difference(row.result.metrics, row.samples, reference.result.metrics, reference.samples,
                     kMetricNames[i].metric);
  }
}

std::vector<MethodResult> results_of(std::vector<EvaluationRow> rows) {
  std::vector<MethodResult> results;
  for (EvaluationRow& row : rows) results.push_back(std::move(row.result));
  return results;
}

}  // namespace pinnerformer
