// Evaluates retrieval methods at frequencies of inference (paper section 8).
#pragma once
#include <array>
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
#include "trainer/evaluation/segments.h"
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
  HeldOut part = HeldOut::kTest;     // whose cases: evaluation or validation users
  std::vector<SegmentKind> by = {};  // segments that are reported beside the whole
};

// A method, or a model in several runs that differ in their seed alone. The pointers must outlive
// the call they are passed to.
struct MethodRuns {
  std::string name;
  std::vector<RetrievalMethod*> runs;
};

// The metrics that have intervals, with their keys in JSON.
struct MetricName {
  const char* key;
  Metric metric;
};
inline constexpr std::array<MetricName, 5> kMetricNames = {{
    {"recall@10", &RetrievalMetrics::recall_at_10},
    {"recall@50", &RetrievalMetrics::recall_at_50},
    {"recall@10_per_user", &RetrievalMetrics::recall_at_10_per_user},
    {"ndcg@10", &RetrievalMetrics::ndcg_at_10},
    {"interest_entropy@50", &RetrievalMetrics::interest_entropy_at_50},
}};

struct MethodResult {
  std::string method;
  InferenceFrequency frequency = InferenceFrequency::kOnce;
  int64_t runs = 1;
  RetrievalMetrics metrics;  // means over the runs
  RetrievalMetrics standard_errors{};
  std::array<Interval, kMetricNames.size()> intervals{};
  // The row that it is compared with: the first method at the same frequency, for rows of the first
  // method its first row. Empty: none.
  std::string reference{};
  InferenceFrequency reference_frequency = InferenceFrequency::kOnce;
  std::array<Difference, kMetricNames.size()> differences{};  // this row minus the reference
  Settings settings{};
};

// The positives of one segment.
struct SegmentResult {
  std::string name;
  int64_t users = 0;         // with a positive of the segment
  int64_t user_windows = 0;  // pairs of such a user and a window
  int64_t positives = 0;
  // The rows of the whole, each over these positives and users alone, with intervals and
  // differences of their own; with fewer than ten users without intervals. Entropy is over the
  // lists that served such a positive; coverage is NaN: it depends on the number of lists, so that
  // segments could not be compared.
  std::vector<MethodResult> results{};
};

struct SegmentedResult {
  SegmentKind by = SegmentKind::kActivity;
  std::vector<SegmentResult> segments;  // those with a positive
};

struct EvaluationResult {
  SplitProtocol protocol = SplitProtocol::kWindows;
  int64_t users = 0;         // distinct held-out users with a positive in a window
  int64_t user_windows = 0;  // pairs of such a user and a window
  int64_t positives = 0;
  int64_t excluded_positives = 0;  // beside these: of items that the user had (exclude_seen)
  int64_t index_items = 0;
  int64_t daily_delay_days = 0;
  std::vector<MethodResult> results;  // in the order of `methods`, then of evaluate.frequency
  std::vector<SegmentedResult> by;    // in the order of EvaluationInputs::by
};

// Collective: all ranks call it with the same methods and get the same result, for any number of
// ranks. A method that does not depend on time is evaluated `once` only, and every method is under
// leave_one_out. Throws DataError where no user of inputs.part has a positive.
// The first method is the one that the others are compared with.
[[nodiscard]] EvaluationResult evaluate(const EvaluationInputs& inputs,
                                        std::span<const MethodRuns> methods);
// The same of single methods.
[[nodiscard]] EvaluationResult evaluate(const EvaluationInputs& inputs,
                                        std::span<RetrievalMethod* const> methods);

// Throws what evaluate() would throw because the dataset has no cases or too few items, before
// anything is computed. Collective.
void require_cases(const EvaluationInputs& inputs);

// One JSON object with the keys of `pinnerformer evaluate --json`; undefined values are null.
[[nodiscard]] std::string to_json(const EvaluationResult& result);

}  // namespace pinnerformer
