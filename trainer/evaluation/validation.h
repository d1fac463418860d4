// The quality of a model in training, on cases that are neither trained on nor reported.
#pragma once
#include <cstdint>

#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {

struct ValidationResult {
  int64_t users = 0;  // with a positive
  int64_t positives = 0;
  RetrievalMetrics metrics;
};

// evaluate() of one method, `once`, on the validation users (split.validation_percent), without
// resamples; inputs.part is ignored. Collective, with the same result on all ranks for any number
// of ranks. The method is asked for its item vectors anew. Throws DataError where no validation
// user has a positive, as without split.validation_percent.
[[nodiscard]] ValidationResult validate(const EvaluationInputs& inputs, RetrievalMethod& method);

}  // namespace pinnerformer
