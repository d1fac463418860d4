// Evaluates retrieval methods at frequencies of inference (paper section 8).
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "dataloader/sampling/split.h"
#include "trainer/evaluation/retrieval_method.h"
#include "trainer/evaluation/retrieval_metrics.h"
#include "trainer/options.h"

namespace pinnerformer {

struct EvaluationProgress {
  std::string method;
  std::string frequency;
  int64_t users_done = 0;
  int64_t users_total = 0;  // of this rank
};

// The inputs of an evaluation, the same on every rank. The references must outlive the call.
struct EvaluationInputs {
  const Dataset& dataset;
  const PositiveOptions& positives;
  const SplitOptions& split;
  const EvaluateOptions& evaluate;
  int64_t seed = 1;  // of the index and of the standard errors
  Communicator& comm;
  // Called on every rank after each chunk of its users. Optional.
  std::function<void(const EvaluationProgress&)> progress;
  HeldOut part = HeldOut::kTest;  // whose cases: evaluation or validation users
};

struct MethodResult {
  std::string method;
  InferenceFrequency frequency = InferenceFrequency::kOnce;
  RetrievalMetrics metrics;
  RetrievalMetrics standard_errors;
  Settings settings{};
};

struct EvaluationResult {
  SplitProtocol protocol = SplitProtocol::kWindows;
  int64_t users = 0;         // distinct held-out users with a positive in a window
  int64_t user_windows = 0;  // pairs of such a user and a window
  int64_t positives = 0;
  int64_t index_items = 0;
  int64_t daily_delay_days = 0;
  std::vector<MethodResult> results;  // in the order of `methods`, then of evaluate.frequency
};

// Collective: all ranks call it with the same methods and get the same result, for any number of
// ranks. A method that does not depend on time is evaluated `once` only, and every method is under
// leave_one_out. Throws DataError where no user of inputs.part has a positive.
[[nodiscard]] EvaluationResult evaluate(const EvaluationInputs& inputs,
                                        std::span<RetrievalMethod* const> methods);

// One JSON object with the keys of `pinnerformer evaluate --json`; undefined values are null.
[[nodiscard]] std::string to_json(const EvaluationResult& result);

}  // namespace pinnerformer
