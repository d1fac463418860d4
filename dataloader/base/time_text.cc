// ISO 8601 in UTC.
#include "dataloader/base/time_text.h"

#include <arrow/util/value_parsing.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <ctime>

namespace pinnerformer {
namespace {

constexpr int64_t kYear2100 = 4102444800;  // seconds since 1970
constexpr int64_t kNanoseconds = 1'000'000'000;

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const auto number = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = number.ec == std::errc() && number.ptr == text.data() + text.size();
  return whole ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> parse_iso(std::string_view text) {
  using arrow::TimeUnit;
  using arrow::internal::ParseTimestampISO8601;
  int64_t value = 0;
  bool has_offset = false;
  if (ParseTimestampISO8601(text.data(), text.size(), TimeUnit::SECOND, &value, &has_offset))
    return value;
  if (!ParseTimestampISO8601(text.data(), text.size(), TimeUnit::NANO, &value, &has_offset))
    return std::nullopt;
  return value / kNanoseconds - (value % kNanoseconds < 0 ? 1 : 0);
}

// "2024-01-31" of "20240131": a date of 1900 to 2100, not a second of August 1970.
std::optional<std::string> date_of_digits(std::string_view text) {
  const bool digits = text.size() == 8 && std::ranges::all_of(text, [](unsigned char c) {
                        return std::isdigit(c) != 0;
                      });
  if (!digits) return std::nullopt;
  std::string date(text);
  date.insert(6, "-").insert(4, "-");
  const bool plausible = date >= "1900" && date < "2101" && parse_iso(date);
  return plausible ? std::optional(date) : std::nullopt;
}

// The unit in which a number after 2100 is a time of about the present.
const char* unit_of(int64_t number) {
  if (number / 1000 < kYear2100) return "milliseconds";
  return number / 1'000'000 < kYear2100 ? "microseconds" : "nanoseconds";
}

}  // namespace

std::string utc_text(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::optional<int64_t> parse_utc(std::string_view text) {
  const std::optional<int64_t> number = parse_integer(text);
  return number ? number : parse_iso(text);
}

std::string time_problem(std::string_view text) {
  const std::string given(text);
  const std::optional<int64_t> seconds = parse_utc(text);
  if (!seconds)
    return given +
           ": expected a time such as 2024-05-31, 2024-05-31T23:59:59Z or seconds since "
           "1970, in UTC";
  if (const auto date = date_of_digits(text))
    return given + ": a date is written " + *date + "; a plain number is seconds since 1970";
  if (*seconds >= kYear2100)
    return given + " is after 2100: is it in " + unit_of(*seconds) +
           "? Expected seconds since 1970";
  return "";
}

}  // namespace pinnerformer
