#include "launch/report/scale.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "launch/report/markup.h"

namespace pinnerformer {
namespace {

// 1, 2 or 5 times a power of ten: the smallest that is at least `least`.
double round_step(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

}  // namespace

Scale fitted_scale(double low, double high, double from, double to) {
  constexpr double kRoom = 0.05;
  double room = (high - low) * kRoom;
  // Nearly equal values would share a place after rounding.
  const double least = 1e-9 * std::max(std::abs(low), std::abs(high));
  if (!(room > least)) room = std::max(std::abs(high) * kRoom, 1e-6);
  return {.low = low - room, .high = high + room, .from = from, .to = to};
}

std::vector<double> ticks(const Scale& scale, int count) {
  // A little less, since the step is rounded up.
  const double step = round_step(0.75 * (scale.high - scale.low) / std::max(1, count));
  std::vector<double> values;
  for (double at = std::ceil(scale.low / step - 1e-9); at * step <= scale.high + 1e-9 * step;
       at += 1) {
    values.push_back(at == 0 ? 0 : at * step);
    if (values.size() > 50) break;  // a step that is lost in rounding
  }
  return values;
}

std::string tick_text(double value, const std::vector<double>& ticks) {
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : std::max(std::abs(value), 1e-12);
  const double largest = std::max(std::abs(ticks.front()), std::abs(ticks.back()));
  if (value == 0) return "0";
  if (largest >= 1e9 || step < 1e-4) return number_text(value, "%.2g");
  if (step >= 1) return count_text(std::llround(value));
  const int digits = static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

}  // namespace pinnerformer
