#include "trainer/evaluation/validation.h"

#include <array>

namespace pinnerformer {

ValidationResult validate(const EvaluationInputs& inputs, RetrievalMethod& method) {
  EvaluateOptions options = inputs.evaluate;
  options.frequency = {InferenceFrequency::kOnce};
  options.bootstrap = 0;
  const EvaluationInputs validation{.dataset = inputs.dataset,
                                    .positives = inputs.positives,
                                    .split = inputs.split,
                                    .evaluate = options,
                                    .seed = inputs.seed,
                                    .comm = inputs.comm,
                                    .progress = inputs.progress,
                                    .part = HeldOut::kValidation};
  const std::array<RetrievalMethod*, 1> methods{&method};
  const EvaluationResult result = evaluate(validation, methods);
  return {.users = result.users,
          .positives = result.positives,
          .metrics = result.results.front().metrics};
}

}  // namespace pinnerformer
