// The events that training sees, for baselines that learn from the same ones.
#pragma once
#include "dataloader/dataset/visit_timelines.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {

// Calls visit(timeline, events) for every training user, whose first `events` events training sees.
template <typename Visit>
void visit_training_part(const Dataset& dataset, const SplitOptions& split, const Visit& visit) {
  const TrainingPart part = training_part(dataset, split);
  visit_timelines(dataset, {0, dataset.users()}, [&](const Timeline& timeline) {
    if (is_training_user(dataset.user_hash(timeline.user), split))
      visit(timeline, part.events(timeline.time));
  });
}

}  // namespace pinnerformer
