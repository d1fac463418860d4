// Times for people.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pinnerformer {

// 2022-04-25T10:26:24Z
[[nodiscard]] std::string utc_text(int64_t seconds);

// Seconds since 1970 of "1650882384", "2022-04-25", "2022-04-25 10:26:24" or
// "2022-04-25T10:26:24Z" (all UTC); nothing where the text is none of these.
[[nodiscard]] std::optional<int64_t> parse_utc(std::string_view text);

}  // namespace pinnerformer
