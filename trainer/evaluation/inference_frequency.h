// How often user vectors are recomputed in a window, and which vector serves which positive
// (paper section 8).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "trainer/evaluation/evaluation_cases.h"

namespace pinnerformer {

enum class InferenceFrequency {
  kOnce,      // the vector made at t serves the whole window
  kDaily,     // made at t + d days, it serves the positives of the day that follows
  kRealtime,  // made after every action: a positive is served by all events that precede it
};

// "once", "daily" or "realtime"; throws std::invalid_argument on anything else.
[[nodiscard]] InferenceFrequency parse_frequency(const std::string& name);

// One user vector of a case and the positives it serves.
struct CaseQuery {
  int64_t length = 0;            // events the vector may depend on
  int64_t time = 0;              // when it is made
  std::vector<int32_t> targets;  // of EvaluationCase::positives
};

// Every positive of the case is served exactly once, and never by a vector that has seen it. Events
// of the same second count as ordered: within a shopping basket, `realtime` sees the articles that
// stand before the positive in the timeline.
[[nodiscard]] std::vector<CaseQuery> queries_of_case(const EvaluationCase& evaluation,
                                                     InferenceFrequency frequency);

}  // namespace pinnerformer
