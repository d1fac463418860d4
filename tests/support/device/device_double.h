// A device that is not the CPU, for tests without a GPU: LibTorch's PrivateUse1. Its memory is out
// of the host's reach, its streams are checked, tensors of different devices do not mix, and
// autocast follows CUDA's lists. What it computes comes from the CPU's kernels.
//
// It cannot find faults inside CUDA kernels or show their speed.
#pragma once
#include <c10/core/Stream.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "tests/support/device/device_streams.h"

namespace pinnerformer::device_double {

// One of kDevices. Ranks that are threads have one each, as autograd has one thread for each.
[[nodiscard]] torch::Device device(int index);

// What this process did on its devices since reset().
struct Report {
  std::vector<std::string> findings;  // accesses without a wait; memory freed too early
  // Where the host waited for a device: read a scalar, copied to the host, synchronised. Each with
  // the functions that were running, the innermost first.
  std::vector<std::string> host_waits;
  int64_t copies_to_device = 0;  // of tensors of the host
};
void reset();
[[nodiscard]] Report report();

// For doubles of libraries that run on a stream.
[[nodiscard]] int stream_number(const c10::Stream& stream);
// The tensor's bytes where the host may touch them; a CPU tensor as it is.
[[nodiscard]] torch::Tensor on_host(const torch::Tensor& tensor);

}  // namespace pinnerformer::device_double
