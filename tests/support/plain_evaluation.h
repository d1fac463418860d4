// Evaluation as a plain program would write it: one user after the other, every item scored, one
// formula after the other. `pinnerformer evaluate` with the same configuration must give the same
// figures.
//
// Shared with the code under test are the draws (CandidateIndex, RandomBaseline, the keys of the
// bootstrap) and the model's vectors; each has tests of its own. Everything that connects them to
// the options is written again here.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "launch/serving/loaded_model.h"

namespace pinnerformer {

// One method at one frequency of inference. The keys of `figures` are those of `evaluate --json`;
// "stderr" is the standard error of recall@10. A value that is not defined is absent.
struct PlainResult {
  std::string method;
  std::string frequency;
  std::map<std::string, double> figures;
  bool operator==(const PlainResult&) const = default;
};

struct PlainEvaluation {
  std::map<std::string, int64_t> counts;  // users, user_windows, positives, …
  std::vector<PlainResult> results;       // in the order of `evaluate --json`
  bool operator==(const PlainEvaluation&) const = default;
};

// Evaluates the model by the definitions of the keys positives, split, evaluate and run.seed of
// `config`. Knows all baselines but PinnerSage.
[[nodiscard]] PlainEvaluation evaluate_plainly(LoadedModel& model, const RunConfig& config);

}  // namespace pinnerformer
