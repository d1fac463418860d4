// Durations as people write them: "90s", "45m", "1d11h30m".
#pragma once
#include <optional>
#include <string_view>

namespace pinnerformer {

// Seconds, above 0. Whole numbers with the units d, h, m and s, each at most once, the larger
// first; nothing for any other text.
[[nodiscard]] std::optional<double> parse_duration(std::string_view text);

}  // namespace pinnerformer
