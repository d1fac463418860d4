#include "trainer/items/unique.h"

#include <bit>
#include <stdexcept>

#include "dataloader/base/random.h"

namespace pinnerformer {

// A hash table with open addressing, at most half full.
Unique unique(std::span<const int64_t> list) {
  constexpr uint32_t kFree = UINT32_MAX;
  if (list.size() >= kFree) throw std::length_error("unique(): a list of 2^32 values or more");
  const size_t slots = std::bit_ceil(2 * list.size() + 1);
  std::vector<uint32_t> slot_of(slots, kFree);  // narrow, for the cache
  Unique found;
  found.values.reserve(list.size());
  found.position.reserve(list.size());
  for (const int64_t value : list) {
    size_t slot = splitmix64(static_cast<uint64_t>(value)) & (slots - 1);
    while (slot_of[slot] != kFree && found.values[slot_of[slot]] != value)
      slot = (slot + 1) & (slots - 1);
    if (slot_of[slot] == kFree) {
      slot_of[slot] = static_cast<uint32_t>(found.values.size());
      found.values.push_back(value);
    }
    found.position.push_back(slot_of[slot]);
  }
  return found;
}

}  // namespace pinnerformer
