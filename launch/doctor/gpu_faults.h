// What a GPU's driver knows: active NVLinks and, since it was loaded, errors of the memory (ECC)
// and faults of the GPU (Xid, https://docs.nvidia.com/deploy/xid-errors). GPUs are named by their
// PCI address, "0000:18:00.0"; "" where the CPU computes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "launch/doctor/check.h"

namespace pinnerformer {

inline constexpr const char* kNvmlLibrary = "libnvidia-ml.so.1";  // comes with the driver
inline constexpr const char* kKernelLog = "/dev/kmsg";

struct GpuMemoryErrors {
  uint64_t corrected = 0, uncorrected = 0;
  bool remap_pending = false;  // a damaged row is replaced at the next reset
  bool remap_failed = false;   // no row is left to replace it
};

// Asks NVIDIA's management library. Nothing where the library, the driver or ECC is missing.
[[nodiscard]] std::optional<GpuMemoryErrors> read_gpu_memory_errors(const std::string& library,
                                                                    const std::string& address);

// Asks the same library; 0 for a GPU without NVLink. Nothing where the library or driver is
// missing.
[[nodiscard]] std::optional<int> active_nvlinks(const std::string& library,
                                                const std::string& address);

// A note where no link is active, or that is not known.
[[nodiscard]] Check nvlink_check(const std::string& library, const std::string& address);

// FAILED where the GPU has to be replaced; a note where it has to be reset, or is not known.
[[nodiscard]] Check gpu_memory_check(const std::string& library, const std::string& address);

// A note where the kernel's log has a fault of this GPU that no program causes, or only root may
// read it. `log`: kKernelLog, or a file with lines of one.
[[nodiscard]] Check gpu_faults_check(const std::filesystem::path& log, const std::string& address);

}  // namespace pinnerformer
