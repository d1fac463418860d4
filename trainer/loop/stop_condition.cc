#include "trainer/loop/stop_condition.h"

#include <utility>

namespace pinnerformer {

double stop_reserve_seconds(double step_seconds, double save_seconds) {
  constexpr double kExit = 1;  // to end the program
  return kExit + 2 * step_seconds + 4 * save_seconds;
}

bool StopClock::due(const StopCondition& stop, std::optional<double> save_seconds) {
  using Seconds = std::chrono::duration<double>;
  const auto now = StopCondition::Clock::now();
  const double step_seconds = Seconds(now - std::exchange(step_begin_, now)).count();
  if (stop.requested && stop.requested()) return true;
  return stop.deadline && save_seconds &&
         Seconds(*stop.deadline - now).count() <= stop_reserve_seconds(step_seconds, *save_seconds);
}

}  // namespace pinnerformer
