// Unique values and where each value of a list finds its own.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace pinnerformer {

struct Unique {
  std::vector<int64_t> values;  // in order of first appearance
  std::vector<int64_t> place;   // list[i] == values[place[i]]
};

// `list` holds values >= 0. Time and memory in proportion to the list, whatever the values.
[[nodiscard]] Unique unique(std::span<const int64_t> list);

}  // namespace pinnerformer
