#include "trainer/distinct.h"

#include <bit>

#include "dataloader/random.h"

namespace pinnerformer {

// Open addressing, at most half full.
Distinct distinct(std::span<const int64_t> list) {
  constexpr int64_t kFree = -1;
  const size_t slots = std::bit_ceil(2 * list.size() + 1);
  std::vector<int64_t> slot_of(slots, kFree);
  Distinct found;
  found.values.reserve(list.size());
  found.place.reserve(list.size());
  for (const int64_t value : list) {
    size_t slot = splitmix64(static_cast<uint64_t>(value)) & (slots - 1);
    while (slot_of[slot] != kFree && found.values[static_cast<size_t>(slot_of[slot])] != value)
      slot = (slot + 1) & (slots - 1);
    if (slot_of[slot] == kFree) {
      slot_of[slot] = std::ssize(found.values);
      found.values.push_back(value);
    }
    found.place.push_back(slot_of[slot]);
  }
  return found;
}

}  // namespace pinnerformer
