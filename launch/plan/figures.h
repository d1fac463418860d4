// What all parts of a plan count with.
#pragma once
#include <cstdint>

namespace pinnerformer {

inline constexpr double kFloat = 4;      // bytes
inline constexpr double kMilli = 1000;   // of a second
inline constexpr double kMiB = 1 << 20;  // bytes
inline constexpr double kGiB = 1 << 30;

[[nodiscard]] inline double real(int64_t number) { return static_cast<double>(number); }

}  // namespace pinnerformer
