// The tables of `pinnerformer evaluate` for people.
#pragma once
#include <string>

#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {

// Methods and metrics, and below them the paired differences to the model. Ends with a new line.
[[nodiscard]] std::string describe_evaluation(const EvaluationResult& result);

}  // namespace pinnerformer
