// How often user vectors are recomputed in a window, and which vector ranks which positive (paper
// section 8).
#pragma once
#include <cstdint>
#include <vector>

#include "trainer/evaluation/evaluation_cases.h"
#include "trainer/options.h"

namespace pinnerformer {

// One user vector of a case and the positives it serves.
struct CaseQuery {
  int64_t length = 0;            // events the vector may depend on
  int64_t time = 0;              // when it is made
  std::vector<int32_t> targets;  // of EvaluationCase::positives
};

// Every positive of the case is served exactly once, by a vector that has seen only events of
// earlier seconds. Events of the same second are a set: the other articles of a shopping basket
// tell nothing of the order in which they were chosen, so `realtime` sees none of them.
//
// A `daily` vector made at t + d days serves the day that begins `daily_delay_days` later: so long
// do a nightly job and its delivery take. With a delay the first days are served by vectors of
// before t. A user of whom nothing was known then gets the vector of their first event.
[[nodiscard]] std::vector<CaseQuery> queries_of_case(const EvaluationCase& evaluation,
                                                     InferenceFrequency frequency,
                                                     int64_t daily_delay_days = 0);

}  // namespace pinnerformer
