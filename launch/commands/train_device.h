// What `train` settles with the devices of its ranks before it builds anything.
#pragma once
#include <c10/util/Exception.h>

#include "configs/run_config.h"
#include "dataloader/dataset/dataset.h"
#include "launch/job/gpu_memory.h"
#include "launch/job/session.h"
#include "trainer/loop/step_log.h"

namespace pinnerformer {

// Replaces train.precision=auto by what it stands for on these devices; the coordinator says so on
// standard output where they are GPUs. Every rank must call it. Throws as agreed_precision().
void settle_precision(RunConfig& config, const Session& session);

// Bytes that the training needs of a GPU, 0 where it computes on CPUs. Every rank must call it.
// Throws ConfigError on all ranks where the GPU with the least free memory has too little; where it
// may have, the coordinator says so on standard error.
[[nodiscard]] double gpu_need_of(const RunConfig& config, const Dataset& dataset,
                                 const Session& session);

// Runs `call`. Where the memory of the device ends during it, throws OutOfGpuMemory with the most
// that was held and the `predicted` bytes.
template <class Call>
auto naming_gpu_memory(double predicted, torch::Device device, Call&& call) {
  try {
    return call();
  } catch (const c10::OutOfMemoryError& error) {
    constexpr double kMebibyte = 1 << 20;
    throw out_of_gpu_memory(error, predicted, device_memory_mib(device).value_or(0) * kMebibyte);
  }
}

}  // namespace pinnerformer
