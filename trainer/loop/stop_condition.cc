#include "trainer/loop/stop_condition.h"

namespace pinnerformer {

double stop_reserve_seconds(double step_seconds, double save_seconds) {
  constexpr double kExit = 1;  // to end the program
  return kExit + 2 * step_seconds + 4 * save_seconds;
}

bool StopClock::due(const StopCondition& stop, std::optional<double> save_seconds,
                    double after_seconds) {
  const double step_seconds = step_.elapsed_ms() / 1000 + after_seconds;
  step_.reset();
  if (stop.requested && stop.requested()) return true;
  if (!stop.deadline || !save_seconds) return false;
  const std::chrono::duration<double> left = *stop.deadline - StopCondition::Clock::now();
  return left.count() <= stop_reserve_seconds(step_seconds, *save_seconds);
}

}  // namespace pinnerformer
