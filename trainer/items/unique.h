// The distinct values of a list, and the index of each element of the list among them.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace pinnerformer {

struct Unique {
  std::vector<int64_t> values;    // in order of first appearance
  std::vector<int64_t> position;  // list[i] == values[position[i]]
};

// `list` holds values >= 0. Time and memory are linear in the length of the list.
[[nodiscard]] Unique unique(std::span<const int64_t> list);

}  // namespace pinnerformer
