// Mixed precision for a scope: matrix products in bfloat16, weights and sums in float32.
#pragma once
#include <ATen/autocast_mode.h>

namespace pinnerformer {

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
