// train.precision=auto: the arithmetic that suits the devices of all ranks.
#pragma once
#include <string>

#include "comm/ranks.h"
#include "trainer/options.h"

namespace pinnerformer {

// What the arithmetic of a device depends on.
struct DeviceKind {
  std::string name = "CPU";
  int capability = 0;  // of a GPU: 80 is compute capability 8.0
};

[[nodiscard]] DeviceKind device_kind(torch::Device device);

// What auto stands for on one device: bf16 from compute capability 8.0 on, which has bfloat16
// products; fp32 on older GPUs and on every CPU.
[[nodiscard]] Precision automatic_precision(const DeviceKind& kind);

// `given`, or what auto stands for where the devices of all ranks agree; never kAuto. `own` is this
// rank's device. Every rank must call it, whatever it was given. Throws ConfigError on all ranks
// where auto would be bf16 on some and fp32 on others.
[[nodiscard]] Precision agreed_precision(Precision given, const DeviceKind& own,
                                         Communicator& control);
[[nodiscard]] Precision agreed_precision(Precision given, const Ranks& ranks);

}  // namespace pinnerformer
