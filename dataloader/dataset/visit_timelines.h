// Reads the timelines of many users, a block at a time.
#pragma once
#include <cstdint>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/slice.h"
#include "dataloader/dataset/dataset.h"

namespace pinnerformer {

// Calls visit_block(first, count) for blocks of these users of about a million events, in their
// order.
template <typename VisitBlock>
void visit_user_blocks(const Dataset& dataset, const Slice& users, const VisitBlock& visit_block) {
  constexpr int64_t kBlockEvents = 1 << 20;
  const int64_t last = users.first + users.count;
  for (int64_t first = users.first; first < last;) {
    int64_t count = 0;
    for (int64_t events = 0; first + count < last && (count == 0 || events < kBlockEvents); ++count)
      events += dataset.timeline_length(first + count);
    visit_block(first, count);
    first += count;
  }
}

// Calls visit(timeline) for these users, in their order, and after_block(end) when all users before
// `end` have been visited. Throws DataError for a damaged timeline.
template <typename Visit, typename AfterBlock>
void visit_timelines(const Dataset& dataset, const Slice& users, const Visit& visit,
                     const AfterBlock& after_block) {
  visit_user_blocks(dataset, users, [&](int64_t first, int64_t count) {
    for (const Timeline& timeline : dataset.timelines(first, count)) {
      dataset.check(timeline);
      visit(timeline);
    }
    after_block(first + count);
  });
}

template <typename Visit>
void visit_timelines(const Dataset& dataset, const Slice& users, const Visit& visit) {
  visit_timelines(dataset, users, visit, [](int64_t) {});
}

// The same, without the timelines that are damaged and the blocks that cannot be read.
template <typename Visit>
void visit_undamaged_timelines(const Dataset& dataset, const Slice& users, const Visit& visit) {
  const auto undamaged = [&](const Timeline& timeline) {
    try {
      dataset.check(timeline);
    } catch (const DataError&) {
      return false;
    }
    return true;
  };
  visit_user_blocks(dataset, users, [&](int64_t first, int64_t count) {
    std::vector<Timeline> timelines;
    try {
      timelines = dataset.timelines(first, count);
    } catch (const IoError&) {
      return;
    }
    for (const Timeline& timeline : timelines)
      if (undamaged(timeline)) visit(timeline);
  });
}

}  // namespace pinnerformer
