// How long a step waited for other ranks, as it looks from where the step runs.
#pragma once
#include <c10/core/Event.h>
#include <torch/types.h>

#include <deque>
#include <utility>

#include "trainer/loop/stopwatch.h"

namespace pinnerformer {

// On a CPU the wall time of the waits. On a GPU the host waits for nobody: events before and after
// a wait show how long the stream of the computation stood still, which is the exposed part of the
// communication.
class WaitTimer {
 public:
  explicit WaitTimer(torch::Device device) : device_(device) {}

  // Runs `call`, which waits, and adds that time.
  template <class Call>
  decltype(auto) time(Call&& call) {
    if (device_.is_cpu()) return host_.time(std::forward<Call>(call));
    struct Scope {
      WaitTimer& timer;
      ~Scope() { timer.mark(); }
    };
    mark();
    const Scope scope{*this};
    return std::forward<Call>(call)();
  }
  // Milliseconds since construction or the last reset(). Waits for the device.
  [[nodiscard]] double spent_ms();
  void reset();

 private:
  void mark();

  torch::Device device_;
  Stopwatch host_;
  std::deque<c10::Event> marks_;  // begin and end of each wait; kept for use after a reset()
  size_t used_ = 0;
};

}  // namespace pinnerformer
