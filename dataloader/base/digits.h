// Text that is digits and nothing else.
#pragma once
#include <string_view>

namespace pinnerformer {

// Whether `text` is one ASCII digit or more, and nothing else.
[[nodiscard]] constexpr bool has_digits_only(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace pinnerformer
