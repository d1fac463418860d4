// What all parts of a plan count with.
#pragma once
#include <cstdint>
#include <string>

namespace pinnerformer {

inline constexpr double kFloat = 4;      // bytes
inline constexpr double kMilli = 1000;   // of a second
inline constexpr double kMiB = 1 << 20;  // bytes
inline constexpr double kGiB = 1 << 30;

[[nodiscard]] inline double real(int64_t number) { return static_cast<double>(number); }

[[nodiscard]] std::string gib(double bytes);            // "1.25 GiB"
[[nodiscard]] std::string short_number(double number);  // three digits: "18.7"

}  // namespace pinnerformer
