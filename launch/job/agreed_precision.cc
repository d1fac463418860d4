#include "launch/job/agreed_precision.h"

#include <algorithm>
#include <vector>

#include "comm/agreement.h"
#include "configs/errors.h"
#include "dataloader/base/enum_name.h"
#ifdef PF_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#endif

namespace pinnerformer {
namespace {

// "bf16 on NVIDIA H200, compute capability 9.0".
std::string arithmetic_of(const DeviceKind& kind) {
  std::string text = std::string(enum_name(automatic_precision(kind))) + " on " + kind.name;
  if (kind.capability > 0)
    text += ", compute capability " + std::to_string(kind.capability / 10) + "." +
            std::to_string(kind.capability % 10);
  return text;
}

}  // namespace

DeviceKind device_kind([[maybe_unused]] torch::Device device) {
#ifdef PF_WITH_CUDA
  if (device.is_cuda()) {
    const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(device.index());
    return {properties.name, 10 * properties.major + properties.minor};
  }
#endif
  return {};
}

Precision automatic_precision(const DeviceKind& kind) {
  constexpr int kFirstWithBfloat16 = 80;
  return kind.capability >= kFirstWithBfloat16 ? Precision::kBf16 : Precision::kFp32;
}

Precision agreed_precision(Precision given, const DeviceKind& own, Communicator& control) {
  const std::string mine = arithmetic_of(own);
  const auto all = gather_texts(control, mine, /*longest=*/160, "arithmetic of the devices");
  if (given != Precision::kAuto) return given;
  const auto first_word = [](const std::string& text) { return text.substr(0, text.find(' ')); };
  const auto other = std::ranges::find_if(
      all, [&](const std::string& text) { return first_word(text) != first_word(all.front()); });
  if (other != all.end())
    throw ConfigError(
        "train.precision = auto: the ranks would compute in different ways, rank 0 in " +
        all.front() + ", rank " + std::to_string(other - all.begin()) + " in " + *other +
        ". Set train.precision=fp32, or leave out the hosts with older GPUs");
  return automatic_precision(own);
}

Precision agreed_precision(Precision given, const Ranks& ranks) {
  return agreed_precision(given, device_kind(ranks.device), *ranks.control);
}

}  // namespace pinnerformer
