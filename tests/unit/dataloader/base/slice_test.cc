// Slices are disjoint, together complete, and of nearly equal sizes.
#include "dataloader/base/slice.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace pinnerformer {
namespace {

TEST(Slice, SlicesCoverTheWholeOnce) {
  for (const int64_t total : {0, 1, 7, 64, 1001}) {
    for (const int world : {1, 2, 3, 8}) {
      int64_t next = 0;
      for (int rank = 0; rank < world; ++rank) {
        const Slice slice = rank_slice(total, rank, world);
        EXPECT_EQ(slice.first, next);
        next = slice.end();
      }
      EXPECT_EQ(next, total);
      const std::vector<int64_t> counts = slice_counts(total, world);
      const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
      EXPECT_LE(*most - *least, 1);
    }
  }
}

}  // namespace
}  // namespace pinnerformer
