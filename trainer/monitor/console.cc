#include "trainer/monitor/console.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <iostream>

namespace pinnerformer {
namespace {

constexpr size_t kColumns = 100;

std::string formatted(const char* form, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), form, value);
  return text.data();
}

std::string progress_text(int64_t step, int64_t total_steps) {
  return "step " + std::to_string(step) + "/" + std::to_string(total_steps);
}

// A share of the time of a step, in percent.
std::string share_text(double part_ms, double step_ms) {
  return formatted("%.0f%%", std::clamp(100 * part_ms / std::max(step_ms, 1e-9), 0.0, 100.0));
}

}  // namespace

std::string clock_text(double seconds) {
  constexpr double kMost = 1e9;  // also of what is no number
  const auto total = static_cast<long long>(seconds >= 0 && seconds < kMost ? seconds : kMost);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%lld:%02lld:%02lld", total / 3600, total / 60 % 60,
                total % 60);
  return text.data();
}

std::string console_line(const StepRecord& r, int64_t total_steps) {
  const double left = static_cast<double>(total_steps - r.step) * r.step_ms / 1000;
  std::string line = progress_text(r.step, total_steps);
  const std::string mfu = r.mfu ? "mfu " + formatted("%.1f%%", 100 * *r.mfu) : "";
  const std::string memory = r.gpu_memory_mib ? formatted("GPU %.0f MiB", *r.gpu_memory_mib)
                                              : formatted("%.0f MiB", r.memory_mib);
  for (const std::string& field :
       {"loss " + (std::isnan(r.loss) ? "-" : formatted("%.5g", r.loss)),
        "left " + clock_text(left),
        formatted(std::abs(r.users_per_second) < 1e7 ? "%.0f users/s" : "%.3g users/s",
                  r.users_per_second),
        "data " + share_text(r.data_wait_ms, r.step_ms),
        "comm " + share_text(r.comm_wait_ms, r.step_ms), mfu,
        "grad " + formatted("%.3g", r.grad_norm), "lr " + formatted("%.2g", r.learning_rate),
        memory}) {
    if (field.empty()) continue;
    if (line.size() + 2 + field.size() > kColumns) break;
    line += "  " + field;
  }
  return line;
}

std::string bar_text(int64_t step, int64_t total_steps, double seconds_left) {
  constexpr int64_t kCells = 24;
  const double done = std::clamp(
      static_cast<double>(step) / static_cast<double>(std::max<int64_t>(total_steps, 1)), 0.0, 1.0);
  const auto filled = static_cast<size_t>(std::lround(done * kCells));
  const std::string bar = std::string(filled, '#') + std::string(kCells - filled, '-');
  return "[" + bar + "] " + formatted("%3.0f %%", std::floor(100 * done)) + "  " +
         progress_text(step, total_steps) + "  left " + clock_text(seconds_left);
}

ProgressBar::ProgressBar(int64_t first_step, int64_t total_steps)
    : is_terminal_(::isatty(STDERR_FILENO) == 1),
      first_step_(first_step),
      total_steps_(total_steps) {}

void ProgressBar::update(int64_t step) {
  if (!is_terminal_) return;
  constexpr auto kPause = std::chrono::milliseconds(200);
  const auto now = Clock::now();
  if (now - drawn_ < kPause || step <= first_step_) return;
  drawn_ = now;
  const double spent = std::chrono::duration<double>(now - start_).count();
  const double pace = spent / static_cast<double>(step - first_step_);
  std::cerr << "\r\033[K" +
                   bar_text(step, total_steps_, pace * static_cast<double>(total_steps_ - step))
            << std::flush;
  shown_ = true;
}

void ProgressBar::erase() {
  if (!shown_) return;
  std::cerr << "\r\033[K" << std::flush;
  shown_ = false;
}

}  // namespace pinnerformer
