// Mixed precision within a scope: matrix products in bfloat16, weights and sums in float32.
#pragma once
#include <ATen/autocast_mode.h>

#include "trainer/options.h"

namespace pinnerformer {

// Whether the device has instructions for products of bfloat16 matrices. A CPU without them
// emulates them, at a tenth of the speed of float32.
inline bool has_bfloat16([[maybe_unused]] c10::DeviceType device) {
#ifdef __x86_64__
  if (device == c10::DeviceType::CPU) return __builtin_cpu_supports("avx512bf16") != 0;
#endif
  return true;
}

// Whether train.precision selects bfloat16 on a device.
inline bool use_bfloat16(Precision precision, c10::DeviceType device) {
  return precision == Precision::kBf16Always ||
         (precision == Precision::kBf16 && has_bfloat16(device));
}

class AutocastScope {
 public:
  AutocastScope(bool bf16, c10::DeviceType device)
      : device_(device), before_(at::autocast::is_autocast_enabled(device)) {
    at::autocast::set_autocast_enabled(device, bf16);
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~AutocastScope() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, before_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  c10::DeviceType device_;
  bool before_;
};

}  // namespace pinnerformer
