// When a training ends before its last step: a stop is requested, or its time runs out.
#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "trainer/loop/stopwatch.h"

namespace pinnerformer {

struct StopCondition {
  using Clock = std::chrono::steady_clock;
  // Called on every rank before every step; one rank that answers true stops all. Must return at
  // once.
  std::function<bool()> requested;
  // The last checkpoint is to be on the disk by then. Only the coordinator's counts.
  std::optional<Clock::time_point> deadline;
};

// Seconds before the deadline at which no further step is begun, when a step takes `step_seconds`
// and a save took `save_seconds`: a save may still be under way, the last one comes after it, and
// disks and steps vary by a factor of two. `step_seconds` includes what follows the step, such as a
// validation.
[[nodiscard]] double stop_reserve_seconds(double step_seconds, double save_seconds);

// Decides for one rank, before every step.
class StopClock {
 public:
  // The time since the call before, without pauses, is taken for that of a step; `after_seconds` is
  // that of what follows the next step. `save_seconds` is how long a save takes; nothing: ignore
  // the deadline.
  [[nodiscard]] bool due(const StopCondition& stop, std::optional<double> save_seconds,
                         double after_seconds = 0);
  // Runs `call`, whose time is no part of a step.
  template <class Call>
  void pause(Call&& call) {
    step_.pause(std::forward<Call>(call));
  }

 private:
  Stopwatch step_;
};

}  // namespace pinnerformer
