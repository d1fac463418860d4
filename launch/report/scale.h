// Axes of charts: from values to places on the page, and the values that are named there.
#pragma once
#include <string>
#include <vector>

namespace pinnerformer {

struct Scale {
  double low = 0, high = 1;  // values; low < high
  double from = 0, to = 1;   // places of low and high
  [[nodiscard]] double operator()(double value) const {
    return from + (value - low) / (high - low) * (to - from);
  }
};

// The range of the values with some room around it; where all are equal, a range that holds them.
[[nodiscard]] Scale fitted_scale(double low, double high, double from, double to);

// Round values (1, 2 or 5 times a power of ten apart) within the scale, about `count` of them.
[[nodiscard]] std::vector<double> ticks(const Scale& scale, int count);
// The value of a tick; `ticks` decide how many digits it needs.
[[nodiscard]] std::string tick_text(double value, const std::vector<double>& ticks);

}  // namespace pinnerformer
