// What a person sees of a training: a line per logged step, and a progress bar between the lines
// where standard error is a terminal.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "trainer/monitor/step_record.h"

namespace pinnerformer {

// "1:02:03"; hours are not folded into days.
[[nodiscard]] std::string clock_text(double seconds);

// A record on one line of at most 100 columns: fields that no longer fit are left out, the last
// ones first. metrics.jsonl has all of them.
[[nodiscard]] std::string console_line(const StepRecord& record, int64_t total_steps);

// "[#####-----]  50 %  step 50/100  left 0:01:02", at most 79 columns.
[[nodiscard]] std::string bar_text(int64_t step, int64_t total_steps, double seconds_left);

class ProgressBar {
 public:
  // The pace is measured from `first_step` on.
  ProgressBar(int64_t first_step, int64_t total_steps);
  ~ProgressBar() { erase(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // After `step` steps. Draws at most five times a second, and nothing without a terminal.
  void update(int64_t step);
  // Before something else is printed.
  void erase();

 private:
  using Clock = std::chrono::steady_clock;
  bool is_terminal_;
  bool shown_ = false;
  int64_t first_step_, total_steps_;
  Clock::time_point start_ = Clock::now(), drawn_{};
};

}  // namespace pinnerformer
