#include "configs/duration.h"

#include <array>
#include <charconv>
#include <cstdint>

namespace pinnerformer {

std::optional<double> parse_duration(std::string_view text) {
  struct Unit {
    char name;
    double seconds;
  };
  constexpr std::array<Unit, 4> kUnits = {{{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}};
  double total = 0;
  for (const Unit& unit : kUnits) {
    uint32_t number = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    if (parsed.ec != std::errc{} || parsed.ptr == end || *parsed.ptr != unit.name) continue;
    total += number * unit.seconds;
    text.remove_prefix(static_cast<size_t>(parsed.ptr + 1 - text.data()));
  }
  if (!text.empty() || total <= 0) return std::nullopt;
  return total;
}

}  // namespace pinnerformer
