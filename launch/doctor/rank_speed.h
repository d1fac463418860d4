// How fast this rank computes and copies, measured in about a second.
#pragma once
#include <torch/types.h>

namespace pinnerformer {

// Product of two float32 matrices on the device, GFLOP/s; the best of a few.
[[nodiscard]] double product_gflops(torch::Device device);

// Copy of a buffer that fits no cache: within a CPU's memory, or from the host to a GPU. GB/s; the
// best of a few.
[[nodiscard]] double copy_gb_per_second(torch::Device device);

}  // namespace pinnerformer
