// Times for people.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace pinnerformer {

// 2022-04-25T10:26:24Z
[[nodiscard]] std::string utc_text(int64_t seconds);

// Seconds since 1970 of "1650882384", "2022-04-25", "2022-04-25 10:26:24" or
// "2022-04-25T10:26:24Z", all UTC; nothing for any other text.
[[nodiscard]] std::optional<int64_t> parse_utc(const std::string& text);

}  // namespace pinnerformer
