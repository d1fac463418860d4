// Text that is digits, and the numbers that it stands for.
#pragma once
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

namespace pinnerformer {

// Whether `text` is one ASCII digit or more, and nothing else.
[[nodiscard]] constexpr bool has_digits_only(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// The value of a canonical decimal number: "7", "-7", not "007", "+7" or "-0". Only those have
// exactly one spelling, so that a number can become its text again.
[[nodiscard]] inline std::optional<int64_t> canonical_integer(std::string_view text) {
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  const size_t sign = text[0] == '-' ? 1 : 0;
  if (text[sign] == '0' && text.size() > 1) return std::nullopt;
  return value;
}

}  // namespace pinnerformer
