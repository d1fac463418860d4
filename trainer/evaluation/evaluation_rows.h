// Rows of a result, with the resamples by which they are compared.
#pragma once
#include <vector>

#include "trainer/evaluation/bootstrap.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {

struct EvaluationRow {
  MethodResult result;
  std::vector<RetrievalMetrics> samples;
};

// Fills in the figures of `row`: means over the runs of `metrics`, errors and intervals from
// resamples of `users`, which holds the same users under each run.
[[nodiscard]] EvaluationRow make_row(MethodResult row, const std::vector<RetrievalMetrics>& metrics,
                                     const std::vector<std::vector<MetricSums>>& users,
                                     int64_t resamples, int64_t seed);

// Fills in the differences. The reference is the first row, or for another method than that of the
// first row the row of that method at the same frequency.
void compare_with_references(std::vector<EvaluationRow>& rows);

// The results alone.
[[nodiscard]] std::vector<MethodResult> results_of(std::vector<EvaluationRow> rows);

}  // namespace pinnerformer
