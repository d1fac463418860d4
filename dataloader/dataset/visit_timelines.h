// Reads the timelines of many users, a block at a time.
#pragma once
#include <cstdint>

#include "dataloader/base/slice.h"
#include "dataloader/dataset/dataset.h"

namespace pinnerformer {

// Calls visit(timeline) for these users, in their order, and after_block(end) when all users before
// `end` have been visited. A block holds about a million events; nothing of it is checked.
template <typename Visit, typename AfterBlock>
void visit_timelines(const Dataset& dataset, const Slice& users, const Visit& visit,
                     const AfterBlock& after_block) {
  constexpr int64_t kBlockEvents = 1 << 20;
  const int64_t last = users.first + users.count;
  for (int64_t first = users.first; first < last;) {
    int64_t count = 0;
    for (int64_t events = 0; first + count < last && (count == 0 || events < kBlockEvents); ++count)
      events += dataset.timeline_length(first + count);
    for (const Timeline& timeline : dataset.timelines(first, count)) visit(timeline);
    first += count;
    after_block(first);
  }
}

template <typename Visit>
void visit_timelines(const Dataset& dataset, const Slice& users, const Visit& visit) {
  visit_timelines(dataset, users, visit, [](int64_t) {});
}

}  // namespace pinnerformer
