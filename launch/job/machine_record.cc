#include "launch/job/machine_record.h"

#include <sched.h>
#include <sys/utsname.h>
#include <torch/version.h>
#include <unistd.h>
#ifdef PF_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#endif

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/communicator.h"
#include "comm/library_versions.h"
#include "dataloader/base/printable.h"
#include "launch/cli/version.h"

namespace pinnerformer {
namespace {

// "" where the kernel does not say.
std::string processor_name() {
  std::ifstream lines("/proc/cpuinfo");
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos)
      return printable(line.substr(line.find(": ") + 2));
  return "";
}

int usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 0;
  return CPU_COUNT(&cores);
}

double memory_gib() {
  const auto bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return std::round(bytes / (1 << 30) * 10) / 10;
}

std::string system_name() {
  utsname system{};
  if (uname(&system) != 0) return "";
  return std::string(system.sysname) + " " + system.release + " " + system.machine;
}

std::string device_name(torch::Device device) {
#ifdef PF_WITH_CUDA
  if (device.is_cuda()) return at::cuda::getDeviceProperties(device.index())->name;
#endif
  return device.is_cpu() ? "CPU" : device.str();
}

}  // namespace

std::string machine_record(const Ranks& ranks) {
  nlohmann::ordered_json record{{"program", std::string("pinnerformer ") + program_version()},
                                {"LibTorch", TORCH_VERSION}};
  for (const LibraryVersion& library : communication_libraries())
    record[library.library] = library.found;
  record["system"] = system_name();
  record["processor"] = processor_name();
  record["cores"] = usable_cores();
  record["memory_gib"] = memory_gib();
  record["device"] = device_name(ranks.device);
  record["ranks"] = ranks.control->size();
  return record.dump(2, ' ', /*ensure_ascii=*/false,
                     nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace pinnerformer
