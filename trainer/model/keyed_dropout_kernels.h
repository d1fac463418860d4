// Keyed dropout on each type of device.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <optional>

#include "trainer/model/keyed_dropout_hash.h"

namespace pinnerformer {

// [B, row_elements], contiguous, on one device.
struct DropoutTensors {
  torch::Tensor output;    // float32 or bfloat16
  torch::Tensor input;     // one of both, whatever the output is
  torch::Tensor residual;  // float32, as the output is then; undefined: none
};

// output = residual + mask * input, with keys int64 [B] and, where given, first_element int64 [B];
// on the current stream of the device.
using DropoutKernel = void(const DropoutTensors& tensors, const torch::Tensor& keys,
                           const std::optional<torch::Tensor>& first_element, int64_t row_elements,
                           const DropoutSite& site);

DropoutKernel keyed_dropout_cpu;
#ifdef PF_WITH_CUDA
DropoutKernel keyed_dropout_cuda;
#endif

// For devices that this library does not know; before the first use of such a device.
void register_dropout_kernel(c10::DeviceType type, DropoutKernel* kernel);

}  // namespace pinnerformer
