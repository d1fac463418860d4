#include "trainer/loop/wait_timer.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace pinnerformer {

void WaitTimer::mark() {
  if (used_ == marks_.size()) marks_.emplace_back(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
  marks_[used_++].record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
}

double WaitTimer::spent_ms() {
  if (device_.is_cpu()) return host_.spent_ms();
  if (used_ > 0) marks_[used_ - 1].synchronize();
  double sum = 0;
  for (size_t begin = 0; begin + 1 < used_; begin += 2)
    sum += marks_[begin].elapsedTime(marks_[begin + 1]);
  return sum;
}

void WaitTimer::reset() {
  host_.reset();
  used_ = 0;
}

}  // namespace pinnerformer
