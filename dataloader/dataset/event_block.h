// Events of neighbouring users, column by column as on disk: what one large read gives.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataloader/dataset/timeline.h"

namespace pinnerformer {

// Made for reuse: a block that is read again keeps its memory.
struct EventBlock {
  int64_t first_user = 0;      // row in the dataset
  std::vector<int64_t> start;  // [users + 1], where each user's events start in the columns
  std::vector<int32_t> item;   // [events], as the columns below
  std::vector<int16_t> action;
  std::vector<int16_t> surface;
  std::vector<int64_t> time;
  std::vector<float> duration;

  [[nodiscard]] int64_t users() const { return static_cast<int64_t>(start.size()) - 1; }
  [[nodiscard]] int64_t length(int64_t user) const {
    return start[static_cast<size_t>(user) + 1] - start[static_cast<size_t>(user)];
  }
  // Makes room for users with `lengths` events each; the columns hold whatever they held.
  void reset(int64_t first_row, const std::vector<int64_t>& lengths);
  // The first `events` events of the block's n-th user.
  void copy_to(Timeline& out, int64_t user, int64_t events) const;
};

// Which checksum blocks of each event column of a users file have been compared.
using VerifiedBlocks = std::vector<std::vector<bool>>;

}  // namespace pinnerformer
