#include "launch/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>

namespace pinnerformer {

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

Progress::~Progress() {
  if (open_) std::cerr << "\n";
}

void Progress::show(int64_t done, int64_t total) {
  constexpr double kQuietMs = 2000, kBetweenMs = 200;
  const double now_ms = clock_.elapsed_ms();
  const bool due = now_ms > kQuietMs && (now_ms - shown_ms_ > kBetweenMs || done == total);
  if (!due || !stderr_is_terminal()) return;
  shown_ms_ = now_ms;
  open_ = true;
  const double rate = static_cast<double>(done) / now_ms * 1000;
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  const double share = 100.0 * static_cast<double>(done) / static_cast<double>(std::max<int64_t>(1, total));
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(), "\r%s %.0f%%  %lld/%lld %s  %.0f/s  %.0f s left   ",
                what_.c_str(), share, static_cast<long long>(done), static_cast<long long>(total),
                unit_.c_str(), rate, left);
  std::cerr << line.data() << std::flush;
}

}  // namespace pinnerformer
