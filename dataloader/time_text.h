// Times for people.
#pragma once
#include <cstdint>
#include <string>

namespace pinnerformer {

// 2022-04-25T10:26:24Z
[[nodiscard]] std::string utc_text(int64_t seconds);

}  // namespace pinnerformer
