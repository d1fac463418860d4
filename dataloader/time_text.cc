// ISO 8601 in UTC.
#include "dataloader/time_text.h"

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

std::optional<int64_t> parse_utc(const std::string& text) {
  int64_t seconds = 0;
  const char* end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, seconds);
  if (number.ec == std::errc() && number.ptr == end) return seconds;
  for (const char* format :
       {"%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"}) {
    std::tm parts{};
    const char* rest = strptime(text.c_str(), format, &parts);
    if (rest == nullptr || *rest != '\0') continue;
    const std::tm read = parts;
    const std::time_t time = timegm(&parts);  // rolls 31 February over into March
    if (parts.tm_mday == read.tm_mday && parts.tm_mon == read.tm_mon) return time;
  }
  return std::nullopt;
}

}  // namespace pinnerformer
