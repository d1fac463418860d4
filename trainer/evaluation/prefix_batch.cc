#include "trainer/evaluation/prefix_batch.h"

#include <algorithm>

namespace pinnerformer {

Batch prefix_batch(const std::vector<HistoryPrefix>& prefixes, int64_t max_length) {
  std::vector<BatchRow> rows;
  for (const HistoryPrefix& prefix : prefixes)
    rows.push_back({prefix.timeline, std::max<int64_t>(0, prefix.length - max_length),
                    prefix.length, /*draw_key=*/0});
  return make_batch(rows);
}

}  // namespace pinnerformer
