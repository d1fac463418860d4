// ISO 8601 in UTC.
#include "dataloader/base/time_text.h"

#include <arrow/util/value_parsing.h>

#include <array>
#include <charconv>
#include <ctime>

namespace pinnerformer {

std::string utc_text(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::optional<int64_t> parse_utc(std::string_view text) {
  int64_t seconds = 0;
  const auto number = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (number.ec == std::errc() && number.ptr == text.data() + text.size()) return seconds;
  if (text.ends_with('Z')) text.remove_suffix(1);
  const bool is_date = arrow::internal::ParseTimestampISO8601(text.data(), text.size(),
                                                              arrow::TimeUnit::SECOND, &seconds);
  return is_date ? std::optional(seconds) : std::nullopt;
}

}  // namespace pinnerformer
