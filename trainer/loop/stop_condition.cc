#include "trainer/loop/stop_condition.h"

namespace pinnerformer {

double stop_reserve_seconds(double step_seconds, double save_seconds) {
  constexpr double kLeaving = 1;  // to end the program
  return kLeaving + 2 * step_seconds + 4 * save_seconds;
}

}  // namespace pinnerformer
