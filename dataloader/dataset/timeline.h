// All events of one user: the unit in which datasets are written and read.
#pragma once
#include <cstdint>
#include <vector>

namespace pinnerformer {

// All events of one user, time ascending. All columns have the same length.
struct Timeline {
  int64_t user = 0;              // row of the user in the dataset
  std::vector<int32_t> item;     // row of the item
  std::vector<int16_t> action;   // index into Dataset::actions()
  std::vector<int16_t> surface;  // index into Dataset::surfaces()
  std::vector<int64_t> time;     // seconds since 1970 UTC
  std::vector<float> duration;   // seconds; NaN: unknown
  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(item.size()); }
};

}  // namespace pinnerformer
