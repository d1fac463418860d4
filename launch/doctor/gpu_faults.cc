#include "launch/doctor/gpu_faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <string_view>

namespace pinnerformer {
namespace {

// The few functions of NVML that are asked, as its documentation declares them: no header of it is
// needed to compile, and no driver to start the program.
using NvmlDevice = void*;
constexpr int kSuccess = 0, kCorrected = 0, kUncorrected = 1, kSinceTheDriverWasLoaded = 0;

class Nvml {
 public:
  explicit Nvml(const std::string& library)
      : library_(::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL), &close) {
    started_ = call<int()>("nvmlInit_v2") == kSuccess;
  }
  ~Nvml() {
    if (started_) call<int()>("nvmlShutdown");
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  [[nodiscard]] bool started() const { return started_; }
  // A number other than 0 where the library does not have the function.
  template <class Signature, class... Values>
  int call(const char* name, Values... values) const {
    void* found = library_ ? ::dlsym(library_.get(), name) : nullptr;
    return found == nullptr ? -1 : reinterpret_cast<Signature*>(found)(values...);
  }

 private:
  static void close(void* library) {
    if (library != nullptr) ::dlclose(library);
  }
  std::unique_ptr<void, void (*)(void*)> library_;
  bool started_ = false;
};

std::optional<uint64_t> ecc_errors(const Nvml& nvml, NvmlDevice device, int kind) {
  unsigned long long count = 0;  // NOLINT(google-runtime-int): NVML's type
  const int answer = nvml.call<int(NvmlDevice, int, int, unsigned long long*)>(
      "nvmlDeviceGetTotalEccErrors", device, kind, kSinceTheDriverWasLoaded, &count);
  if (answer != kSuccess) return std::nullopt;
  return count;
}

// Not on GPUs before Ampere, which have no rows to spare.
void read_remapped_rows(const Nvml& nvml, NvmlDevice device, GpuMemoryErrors& errors) {
  unsigned corrected = 0, uncorrected = 0, pending = 0, failed = 0;
  if (nvml.call<int(NvmlDevice, unsigned*, unsigned*, unsigned*, unsigned*)>(
          "nvmlDeviceGetRemappedRows", device, &corrected, &uncorrected, &pending, &failed) !=
      kSuccess)
    return;
  errors.remap_pending = pending != 0;
  errors.remap_failed = failed != 0;
}

// Faults of the GPU, its memory, links and firmware. The other numbers are mostly those of
// programs.
const std::map<int, const char*>& faults_of_hardware() {
  static const std::map<int, const char*> faults = {
      {48, "uncorrectable memory error"},
      {62, "internal fault"},
      {64, "a damaged memory row could not be replaced"},
      {74, "NVLink error"},
      {79, "fell off the bus"},
      {92, "many corrected memory errors"},
      {94, "uncorrectable memory error, contained"},
      {95, "uncorrectable memory error, not contained"},
      {119, "firmware does not answer"},
      {120, "firmware error"}};
  return faults;
}

// All that the log holds now, at most 16 MiB; nothing where it may not be read.
std::optional<std::string> read_log(const std::filesystem::path& file) {
  constexpr size_t kMost = size_t{16} << 20;
  const int handle = ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (handle < 0) return std::nullopt;
  std::string text;
  std::array<char, 8192> block{};  // the kernel gives one message at a time
  while (text.size() < kMost) {
    const ssize_t count = ::read(handle, block.data(), block.size());
    if (count > 0) text.append(block.data(), static_cast<size_t>(count));
    // EPIPE: messages were overwritten meanwhile; the next one can be read.
    else if (count == 0 || (errno != EPIPE && errno != EINTR))
      break;
  }
  ::close(handle);
  return text;
}

// Number of each Xid in lines such as "NVRM: Xid (PCI:0000:18:00): 79, pid=..." about this GPU; the
// log leaves out the function behind the dot.
std::map<int, int> count_xids(std::string text, const std::string& address) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::string mark = "xid (pci:" + address.substr(0, address.rfind('.')) + "): ";
  std::map<int, int> counts;
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
    at += mark.size();
    int xid = 0;
    if (std::from_chars(text.data() + at, text.data() + text.size(), xid).ec == std::errc())
      ++counts[xid];
  }
  return counts;
}

std::string times(int count) { return count == 1 ? "once" : std::to_string(count) + " times"; }

// Null where the driver does not know the GPU.
NvmlDevice device_of(const Nvml& nvml, const std::string& address) {
  NvmlDevice device = nullptr;
  if (!nvml.started() ||
      nvml.call<int(const char*, NvmlDevice*)>("nvmlDeviceGetHandleByPciBusId_v2", address.c_str(),
                                               &device) != kSuccess)
    return nullptr;
  return device;
}

}  // namespace

std::optional<GpuMemoryErrors> read_gpu_memory_errors(const std::string& library,
                                                      const std::string& address) {
  const Nvml nvml(library);
  const NvmlDevice device = device_of(nvml, address);
  if (device == nullptr) return std::nullopt;
  const std::optional<uint64_t> corrected = ecc_errors(nvml, device, kCorrected);
  const std::optional<uint64_t> uncorrected = ecc_errors(nvml, device, kUncorrected);
  if (!corrected || !uncorrected) return std::nullopt;
  GpuMemoryErrors errors{.corrected = *corrected, .uncorrected = *uncorrected};
  read_remapped_rows(nvml, device, errors);
  return errors;
}

std::optional<int> active_nvlinks(const std::string& library, const std::string& address) {
  constexpr unsigned kMostLinks = 18;  // NVML_NVLINK_MAX_LINKS
  const Nvml nvml(library);
  const NvmlDevice device = device_of(nvml, address);
  if (device == nullptr) return std::nullopt;
  int active = 0;
  for (unsigned link = 0; link < kMostLinks; ++link) {
    int is_active = 0;
    if (nvml.call<int(NvmlDevice, unsigned, int*)>("nvmlDeviceGetNvLinkState", device, link,
                                                   &is_active) == kSuccess)
      active += is_active;
  }
  return active;
}

Check nvlink_check(const std::string& library, const std::string& address) {
  const std::string name = "NVLink";
  if (address.empty()) return {name, Health::kOk, "no GPU computes"};
  const std::optional<int> active = active_nvlinks(library, address);
  if (!active) return {name, Health::kNote, address + ": not known, the driver does not say"};
  if (*active == 0)
    return {name, Health::kNote, address + ": no active link, GPUs of a host exchange over PCIe"};
  return {name, Health::kOk, address + ": " + std::to_string(*active) + " active link(s)"};
}

Check gpu_memory_check(const std::string& library, const std::string& address) {
  const std::string name = "GPU memory errors";
  if (address.empty()) return {name, Health::kOk, "no GPU computes"};
  const auto errors = read_gpu_memory_errors(library, address);
  if (!errors)
    return {name, Health::kNote, address + ": not known, the driver counts none (ECC is off?)"};
  const std::string finding = address + ": " + std::to_string(errors->corrected) + " corrected, " +
                              std::to_string(errors->uncorrected) +
                              " uncorrected since the driver was loaded";
  if (errors->remap_failed)
    return {name, Health::kFailed, finding + "; a damaged row cannot be replaced: replace the GPU"};
  if (errors->remap_pending || errors->uncorrected > 0)
    return {name, Health::kNote, finding + ": reset the GPU, which replaces damaged rows"};
  return {name, Health::kOk, finding};
}

Check gpu_faults_check(const std::filesystem::path& log, const std::string& address) {
  const std::string name = "GPU faults (Xid)";
  if (address.empty()) return {name, Health::kOk, "no GPU computes"};
  const std::optional<std::string> text = read_log(log);
  const int error = errno;
  if (!text)
    return {name, Health::kNote,
            "not known, " + log.string() + " cannot be read (" + std::strerror(error) +
                "): look for Xid in `sudo dmesg`"};
  std::string hardware, programs;
  for (const auto& [xid, count] : count_xids(*text, address)) {
    const auto known = faults_of_hardware().find(xid);
    std::string& list = known == faults_of_hardware().end() ? programs : hardware;
    list += (list.empty() ? "" : ", ") + std::to_string(xid);
    if (known != faults_of_hardware().end()) list += std::string(" (") + known->second + ")";
    list += " " + times(count);
  }
  if (!hardware.empty()) return {name, Health::kNote, address + ": " + hardware};
  return {
      name, Health::kOk,
      address + ": none of its hardware" + (programs.empty() ? "" : "; of programs: " + programs)};
}

}  // namespace pinnerformer
