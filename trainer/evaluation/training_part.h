// The events that training sees, for baselines that learn from the same ones.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "dataloader/dataset/visit_timelines.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {

// Of one timeline the number of events, from its first on, that training sees.
[[nodiscard]] inline int64_t training_events(const Timeline& timeline, int64_t training_end,
                                             int64_t leave_out) {
  const auto end = std::upper_bound(timeline.time.begin(), timeline.time.end(), training_end);
  return std::clamp<int64_t>(timeline.size() - leave_out, 0, end - timeline.time.begin());
}

// Calls visit(timeline, events) for every training user, events as of training_events().
template <typename Visit>
void visit_training_part(const Dataset& dataset, const SplitOptions& split, const Visit& visit) {
  const int64_t end = training_end(dataset, split);
  const int64_t leave_out = left_out_events(split);
  visit_timelines(dataset, {0, dataset.users()}, [&](const Timeline& timeline) {
    if (is_training_user(dataset.user_hash(timeline.user), split))
      visit(timeline, training_events(timeline, end, leave_out));
  });
}

}  // namespace pinnerformer
