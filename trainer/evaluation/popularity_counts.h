// How often items were taken in the days before a time, by all users.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "dataloader/sampling/split.h"
#include "trainer/evaluation/baseline_inputs.h"

namespace pinnerformer {

// The days before each window that popularity counts: evaluate.popularity_days of them, or
// split.window_days; all of the data under leave_one_out.
[[nodiscard]] std::vector<EvaluationWindow> popularity_spans(
    const BaselineInputs& inputs, const std::vector<EvaluationWindow>& windows);

// Positive events of all users, repeats included, int64 [I, spans]: those in (begin, end] that are
// not among the last `leave_out` of their user. Collective: each rank counts its share of the
// users.
[[nodiscard]] torch::Tensor count_popularity(const BaselineInputs& inputs,
                                             const std::vector<EvaluationWindow>& spans,
                                             int64_t leave_out);

}  // namespace pinnerformer
