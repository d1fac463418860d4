#include "launch/job/job_deadline.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include "configs/duration.h"
#include "configs/typed_value.h"

namespace pinnerformer {
namespace {

// Removes the leading digits of `text` and returns their value.
std::optional<uint32_t> take_number(std::string_view& text) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

std::string first_line_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  std::array<char, 256> line{};
  if (!pipe || std::fgets(line.data(), line.size(), pipe.get()) == nullptr) return {};
  const std::string text = line.data();
  return text.substr(0, text.find_first_of(" \n"));
}

std::optional<double> slurm_seconds_left() {
  int64_t number = 0;
  if (const char* end = std::getenv("SLURM_JOB_END_TIME"); end && assign_text(&number, end))
    return static_cast<double>(number - std::time(nullptr));
  const char* job = std::getenv("SLURM_JOB_ID");
  if (!job || !assign_text(&number, job)) return std::nullopt;
  return parse_slurm_time(
      first_line_of("timeout 20 squeue -h -j " + std::to_string(number) + " -o %L 2>/dev/null"));
}

}  // namespace

std::optional<double> parse_slurm_time(std::string_view text) {
  double days = 0, seconds = 0;
  if (const size_t dash = text.find('-'); dash != std::string_view::npos) {
    const auto number = take_number(text);
    if (!number || !text.starts_with('-')) return std::nullopt;
    days = *number;
    text.remove_prefix(1);
  }
  int parts = 0;
  for (;; ++parts) {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    seconds = 60 * seconds + *number;
    if (text.empty()) break;
    if (!text.starts_with(':')) return std::nullopt;
    text.remove_prefix(1);
  }
  if (parts < 1 || parts > 2 || (days > 0 && parts < 2)) return std::nullopt;
  return days * 86400 + seconds;
}

std::optional<std::chrono::steady_clock::time_point> job_deadline(const std::string& stop_after) {
  std::vector<double> limits;
  if (const auto own = parse_duration(stop_after)) limits.push_back(*own);
  if (const auto job = slurm_seconds_left()) limits.push_back(*job);
  if (limits.empty()) return std::nullopt;
  constexpr double kMostSeconds = 1e9;  // 64 bits of nanoseconds, as the clock counts, hold 9.2e9
  const std::chrono::duration<double> left(
      std::min(*std::ranges::min_element(limits), kMostSeconds));
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(left);
}

}  // namespace pinnerformer
