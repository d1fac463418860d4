// The memory of the GPUs of a job: what is free at the start, and what was used where it ran out.
#pragma once
#include <c10/util/Exception.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "comm/ranks.h"

namespace pinnerformer {

// Of the GPU of one rank, in bytes.
struct GpuMemory {
  std::string name;  // "NVIDIA H200 of node1"
  double free = 0;
  double total = 0;
  int rank = 0;
};

// Of this rank's GPU now; nothing where it computes on the CPU.
[[nodiscard]] std::optional<GpuMemory> own_gpu_memory(torch::Device device);
// The one with the least free memory among `own` of all ranks, the same on every rank; nothing
// where none has a GPU. Every rank must call it.
[[nodiscard]] std::optional<GpuMemory> scarcest_gpu(const std::optional<GpuMemory>& own,
                                                    Communicator& control);

// A GPU had no more memory during the work (exit code 71).
struct OutOfGpuMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What LibTorch reports, with the most that the device has held and the `predicted` need beside it,
// both in bytes.
[[nodiscard]] OutOfGpuMemory out_of_gpu_memory(const c10::OutOfMemoryError& error, double predicted,
                                               double most_held);

}  // namespace pinnerformer
