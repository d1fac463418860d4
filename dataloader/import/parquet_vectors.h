// Vectors stored as lists of floats in a Parquet column.
#pragma once
#include <c10/util/Half.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace pinnerformer {

[[nodiscard]] inline float half_to_float(uint16_t bits) {
  return c10::Half(bits, c10::Half::from_bits());
}

// Calls `visit` for each row in order until it returns false; an empty list stands for null.
void read_parquet_vectors(
    const std::string& path, const std::string& column,
    const std::function<bool(int64_t row, const std::vector<float>& values)>& visit);

}  // namespace pinnerformer
