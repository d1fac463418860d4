// Text of unknown origin for a terminal or a log.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace pinnerformer {

[[nodiscard]] bool is_utf8(std::string_view text);

// On one line: control characters, marks that change the direction or the order of what is shown,
// and bytes that are no UTF-8 appear as \x1b. A text of more than `most_bytes` is cut.
[[nodiscard]] std::string printable(std::string_view text, size_t most_bytes = 200);

// A message: as above, but whole, with its line ends and tabs.
[[nodiscard]] std::string printable_lines(std::string_view text);

}  // namespace pinnerformer
