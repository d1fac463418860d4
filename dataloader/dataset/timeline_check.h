// What must hold for every timeline of a dataset, whoever wrote it.
#pragma once
#include <cstdint>
#include <string>

#include "dataloader/dataset/timeline.h"

namespace pinnerformer {

// How many of each there are.
struct TimelineLimits {
  int64_t items = 0;
  int64_t actions = 0;
  int64_t surfaces = 0;
};

// The first thing that is wrong with a timeline ("/event/item, event 3 of this user: ..."), or "".
[[nodiscard]] std::string timeline_fault(const Timeline& timeline, const TimelineLimits& limits);

}  // namespace pinnerformer
