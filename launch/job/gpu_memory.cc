#include "launch/job/gpu_memory.h"

#include <sstream>

#include "comm/agreement.h"
#include "comm/host_name.h"
#include "launch/job/memory_estimate.h"
#ifdef PF_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#endif

namespace pinnerformer {
namespace {

std::string gpu_text(const std::optional<GpuMemory>& memory) {
  if (!memory) return "";
  std::ostringstream text;
  text << std::hexfloat << memory->free << ' ' << memory->total << ' ' << memory->name;
  return text.str();
}

std::optional<GpuMemory> parse_gpu(const std::string& text, int rank) {
  GpuMemory memory;
  memory.rank = rank;
  const size_t first = text.find(' ');
  if (first == std::string::npos) return std::nullopt;
  const size_t second = text.find(' ', first + 1);
  memory.free = std::stod(text.substr(0, first));
  memory.total = std::stod(text.substr(first + 1, second - first - 1));
  memory.name = text.substr(second + 1);
  return memory;
}

}  // namespace

std::optional<GpuMemory> own_gpu_memory([[maybe_unused]] torch::Device device) {
#ifdef PF_WITH_CUDA
  if (device.is_cuda()) {
    const c10::cuda::CUDAGuard guard(device);
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    return GpuMemory{.name = std::string(at::cuda::getDeviceProperties(device.index())->name) +
                             " of " + host_name(),
                     .free = static_cast<double>(free),
                     .total = static_cast<double>(total)};
  }
#endif
  return std::nullopt;
}

std::optional<GpuMemory> scarcest_gpu(const std::optional<GpuMemory>& own, Communicator& control) {
  std::optional<GpuMemory> scarcest;
  int rank = 0;
  for (const std::string& text :
       gather_texts(control, gpu_text(own), /*longest=*/160, "memory of the GPUs")) {
    const auto memory = parse_gpu(text, rank++);
    if (memory && (!scarcest || memory->free < scarcest->free)) scarcest = memory;
  }
  return scarcest;
}

OutOfGpuMemory out_of_gpu_memory(const c10::OutOfMemoryError& error, double predicted,
                                 double most_held) {
  return OutOfGpuMemory(std::string(error.what_without_backtrace()) + "\nThe GPU has held " +
                        gib_text(most_held) + " at most; before the start " + gib_text(predicted) +
                        " were predicted for it (`pinnerformer plan` shows the parts).");
}

}  // namespace pinnerformer
