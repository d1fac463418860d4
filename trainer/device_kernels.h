// The functions that do one thing, one for each type of device.
#pragma once
#include <c10/core/Device.h>
#include <c10/util/Exception.h>

#include <array>

namespace pinnerformer {

// Kernel: the type of the functions.
template <class Kernel>
class DeviceKernels {
 public:
  // `what` names the thing in errors.
  DeviceKernels(const char* what, Kernel* cpu, Kernel* cuda) : what_(what) {
    set(c10::DeviceType::CPU, cpu);
    set(c10::DeviceType::CUDA, cuda);
  }
  // Before the first use of such a device.
  void set(c10::DeviceType type, Kernel* kernel) { by_type_[static_cast<size_t>(type)] = kernel; }
  // c10::Error where a device of this type has none.
  [[nodiscard]] Kernel& of(const c10::Device& device) const {
    Kernel* kernel = by_type_[static_cast<size_t>(device.type())];
    TORCH_CHECK(kernel != nullptr, what_, " has no kernel for ", device);
    return *kernel;
  }

 private:
  const char* what_;
  std::array<Kernel*, c10::COMPILE_TIME_MAX_DEVICE_TYPES> by_type_{};
};

}  // namespace pinnerformer
