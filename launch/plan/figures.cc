#include "launch/plan/figures.h"

#include <array>
#include <cstdio>

namespace pinnerformer {

std::string gib(double bytes) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f GiB", bytes / kGiB);
  return text.data();
}

std::string short_number(double number) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g", number);
  return text.data();
}

}  // namespace pinnerformer
