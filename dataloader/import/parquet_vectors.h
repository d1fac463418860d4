// Vectors stored as lists of numbers in a Parquet column.
#pragma once
#include <c10/util/Half.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace pinnerformer {

[[nodiscard]] inline float half_to_float(uint16_t bits) {
  return c10::Half(bits, c10::Half::from_bits());
}

// Whether float32 holds this integer and all that are nearer to 0.
template <typename Integer>
[[nodiscard]] bool is_exact_float(Integer value) {
  constexpr int32_t kMost = 1 << 24;
  return std::cmp_less_equal(value, kMost) && std::cmp_greater_equal(value, -kMost);
}

[[noreturn]] void refuse_inexact(const std::string& where, const std::string& found);

// Calls `visit` for each row in order until it returns false; an empty list stands for null.
void read_parquet_vectors(
    const std::string& path, const std::string& column,
    const std::function<bool(int64_t row, const std::vector<float>& values)>& visit);

}  // namespace pinnerformer
