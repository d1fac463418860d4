// Times as text, in options and messages.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pinnerformer {

// 2022-04-25T10:26:24Z
[[nodiscard]] std::string utc_text(int64_t seconds);

// Seconds since 1970 of "1650882384", "2022-04-25", "2022-04-25 10:26:24", "2022-04-25T10:26:24Z",
// "2022-04-25T12:26:24.123456789+02:00" (UTC without an offset; fractions are rounded down);
// nothing where the text is none of these.
[[nodiscard]] std::optional<int64_t> parse_utc(std::string_view text);

// For a time given as an option: "" where it is valid, else what is wrong, beginning with `text`:
// no time, a time after 2100 (which is usually in milliseconds), or a date without dashes
// (20240131), which parse_utc() would take for seconds.
[[nodiscard]] std::string time_problem(std::string_view text);

}  // namespace pinnerformer
