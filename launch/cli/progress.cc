// Prints nothing for the first seconds, so that short runs print only their result.
#include "launch/cli/progress.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace pinnerformer {
namespace {

using Seconds = std::chrono::duration<double>;
constexpr double kSilentSeconds = 3.0;
constexpr double kTerminalSeconds = 0.2;  // between two updates
constexpr double kPlainSeconds = 10.0;

std::string short_number(double value) {
  const char* suffix = value >= 1e6 ? " M" : value >= 1e3 ? " k" : "";
  const double scaled = value >= 1e6 ? value / 1e6 : value >= 1e3 ? value / 1e3 : value;
  char text[32];
  std::snprintf(text, sizeof text, *suffix ? "%.1f%s" : "%.0f%s", scaled, suffix);
  return text;
}

}  // namespace

std::string rate_text(int64_t done, double seconds, const std::string& unit) {
  const auto count = static_cast<double>(done);
  const std::string text = short_number(count) + " " + unit;
  // What is done when a stage begins was not measured.
  if (seconds < 1 || done <= 0) return text;
  const double rate = count / seconds;
  return text + ", " + (rate < 1 ? short_number(1 / rate) + " s each" : short_number(rate) + "/s");
}

ProgressLine::ProgressLine() : is_terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (line_is_open_) std::cerr << "\n";
}

void ProgressLine::begin_stage(const std::string& stage) {
  if (stage == stage_) return;
  stage_ = stage;
  stage_start_ = Clock::now();
}

std::string ProgressLine::rate(const std::string& stage, int64_t done, const std::string& unit) {
  begin_stage(stage);
  return rate_text(done, Seconds(Clock::now() - stage_start_).count(), unit);
}

void ProgressLine::update(const std::string& stage, double fraction, const std::string& detail) {
  begin_stage(stage);
  const auto now = Clock::now();
  const double pause = is_terminal_ ? kTerminalSeconds : kPlainSeconds;
  if (Seconds(now - start_).count() < kSilentSeconds ||
      Seconds(now - last_shown_).count() < pause) {
    return;
  }
  last_shown_ = now;
  const double elapsed = Seconds(now - stage_start_).count();
  char text[64];
  if (fraction > 0.01 && elapsed > 1) {
    std::snprintf(text, sizeof text, " %3.0f %%, %.0f s left, ", 100 * fraction,
                  elapsed * (1 - fraction) / fraction);
  } else {
    std::snprintf(text, sizeof text, " %3.0f %%, ", 100 * fraction);
  }
  std::cerr << (is_terminal_ ? "\r\033[K" : "") << stage << text << detail
            << (is_terminal_ ? "" : "\n") << std::flush;
  line_is_open_ = is_terminal_;
}

}  // namespace pinnerformer
