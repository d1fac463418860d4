// Rows of a result, with the resamples by which they are compared.
#pragma once
#include <iterator>
#include <vector>

#include "trainer/evaluation/bootstrap.h"
#include "trainer/evaluation/evaluation.h"
#include "trainer/evaluation/retrieval_metrics.h"

namespace pinnerformer {

struct EvaluationRow {
  MethodResult result;
  std::vector<RetrievalMetrics> samples;
};

// Fills in how many users, pairs of a user and a window, and positives the cases have. Cases of one
// user are neighbours. `Result`: EvaluationResult or SegmentResult.
template <class Result>
void count_cases(const std::vector<CaseScore>& cases, Result& result) {
  result.users = 0;
  result.positives = 0;
  result.user_windows = std::ssize(cases);
  for (size_t i = 0; i < cases.size(); ++i) {
    result.users += i == 0 || cases[i].user != cases[i - 1].user ? 1 : 0;
    result.positives += cases[i].positives;
  }
}

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
