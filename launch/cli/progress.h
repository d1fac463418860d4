// A progress line on stderr for work that takes more than a few seconds: one line that is rewritten
// on a terminal, a plain line now and then elsewhere.
#pragma once
#include <chrono>
#include <string>

namespace pinnerformer {

// "12.3 M events, 1.1 M/s", or "4 passes, 25 s each" where less than one is done per second;
// without the rate in the first second.
[[nodiscard]] std::string rate_text(int64_t done, double seconds, const std::string& unit);

class ProgressLine {
 public:
  ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine();  // ends the rewritten line

  // `fraction` of this stage is done, 0 to 1; `detail` is printed after it.
  void update(const std::string& stage, double fraction, const std::string& detail);
  // rate_text() since this stage began. Call before update().
  [[nodiscard]] std::string rate(const std::string& stage, int64_t done, const std::string& unit);

 private:
  using Clock = std::chrono::steady_clock;
  void begin_stage(const std::string& stage);
  bool is_terminal_;
  bool line_is_open_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point stage_start_ = start_;
  Clock::time_point last_shown_ = start_;
  std::string stage_;
};

}  // namespace pinnerformer
