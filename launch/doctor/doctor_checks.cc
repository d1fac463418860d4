#include "launch/doctor/doctor_checks.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <torch/cuda.h>
#include <torch/utils.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#ifdef PF_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <cuda_runtime_api.h>
#endif

#include "comm/host_name.h"
#include "comm/library_versions.h"
#include "dataloader/hdf5/h5_version.h"
#include "launch/doctor/file_system_checks.h"
#include "launch/doctor/gpu_faults.h"
#include "launch/doctor/machine_topology.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr double kLittleSpace = 5 * kGiB;

std::string environment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? "" : text;
}

Check version_check(const std::string& name, const std::string& built, const std::string& found,
                    bool fits) {
  if (fits) return {name, Health::kOk, found};
  return {
      name, Health::kFailed,
      "built with " + built + ", but loads " + found + ": rebuild, or correct the library path"};
}

Check cuda_check() {
#ifdef PF_WITH_CUDA
  const auto dotted = [](int code) {
    return std::to_string(code / 1000) + "." + std::to_string(code % 1000 / 10);
  };
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    return {"CUDA", Health::kNote, "built with " + dotted(CUDART_VERSION) + ", no driver here"};
  return version_check("CUDA", dotted(CUDART_VERSION), "a driver for " + dotted(driver),
                       driver / 1000 >= CUDART_VERSION / 1000);
#else
  return {"CUDA", Health::kNote, "built without"};
#endif
}

Check gpu_check(torch::Device device, CommBackend backend) {
#ifdef PF_WITH_CUDA
  if (device.is_cuda())
    return {"GPU", Health::kOk,
            std::string(at::cuda::getDeviceProperties(device.index())->name) + " number " +
                std::to_string(device.index()) + " of this host, shared with no other rank"};
#endif
  const auto seen = static_cast<int>(torch::cuda::device_count());
  const std::string found =
      seen == 0 ? "none" : std::to_string(seen) + " seen, but not one for every rank";
  if (backend == CommBackend::kNccl)
    return {"GPU", Health::kFailed,
            found + ", and comm.backend=nccl needs one for every rank: use fewer ranks, or mpi"};
  return {"GPU", Health::kNote, found + ": the CPU computes"};
}

// The GPU's place on the PCI bus as the kernel writes it, "" for a CPU.
std::string pci_address([[maybe_unused]] torch::Device device) {
#ifdef PF_WITH_CUDA
  if (device.is_cuda()) {
    std::array<char, 32> text{};
    if (cudaDeviceGetPCIBusId(text.data(), text.size(), device.index()) != cudaSuccess) return "";
    std::string address = text.data();
    std::ranges::transform(address, address.begin(),
                           [](unsigned char c) { return std::tolower(c); });
    return address;
  }
#endif
  return "";
}

bool is_usable(const std::string& interface) {
  std::string state;
  std::ifstream("/sys/class/net/" + interface + "/operstate") >> state;
  return interface != "lo" && !interface.starts_with("docker") && state != "down";
}

// As NCCL chooses: InfiniBand where there is any, else sockets over the first interface that is up.
Check network_check() {
  const std::string name = "network of NCCL";
  std::error_code none;
  if (environment("NCCL_IB_DISABLE") != "1")
    for (const auto& entry : fs::directory_iterator("/sys/class/infiniband", none)) {
      const std::string wanted = environment("NCCL_IB_HCA");
      return {name, Health::kOk,
              wanted.empty()
                  ? "InfiniBand, " + entry.path().filename().string() + " and similar devices"
                  : "InfiniBand, NCCL_IB_HCA=" + wanted};
    }
  if (const std::string wanted = environment("NCCL_SOCKET_IFNAME"); !wanted.empty())
    return {name, Health::kOk, "sockets, NCCL_SOCKET_IFNAME=" + wanted};
  for (const auto& entry : fs::directory_iterator("/sys/class/net", none))
    if (const std::string interface = entry.path().filename(); is_usable(interface))
      return {name, Health::kOk, "sockets over " + interface + " (NCCL_SOCKET_IFNAME chooses)"};
  return {name, Health::kNote, "only the loopback device: one host at most"};
}

// The program opens files without locks, but the environment variable overrides that. BEST_EFFORT
// accepts a file system without flock(), but not one whose flock() fails.
bool locks_are_forced(int error) {
  const std::string wanted = environment("HDF5_USE_FILE_LOCKING");
  return wanted == "TRUE" || wanted == "1" || (wanted == "BEST_EFFORT" && error != ENOSYS);
}

// mpirun itself fails on such a host, so that only a doctor without it can say why.
Check host_name_check() {
  const std::string host = host_name(), fault = host_name_fault(host);
  return {"host name", fault.empty() ? Health::kOk : Health::kFailed, fault.empty() ? host : fault};
}

// HDF5 locks a file by flock(); some network file systems have no such call.
Check lock_check(const std::string& data_path) {
  const std::string name = "HDF5 file locks";
  if (data_path.empty()) return {name, Health::kNote, "not checked: give data.path=DIR"};
  const std::string file = data_path + "/items.h5";
  const int handle = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (handle < 0)
    return {name, Health::kFailed, "cannot read " + file + ": " + std::strerror(errno)};
  const bool locked = ::flock(handle, LOCK_SH | LOCK_NB) == 0;
  const int error = errno;
  ::close(handle);
  if (locked) return {name, Health::kOk, "work on " + data_path};
  const std::string finding = "do not work on " + data_path + " (" + std::strerror(error) + ")";
  if (locks_are_forced(error))
    return {name, Health::kFailed, finding + ", and HDF5_USE_FILE_LOCKING asks for them: unset it"};
  return {name, Health::kNote, finding + "; none are needed: files are opened without locks"};
}

Check disk_check(const std::string& run_directory) {
  const std::string name = "room for checkpoints";
  if (run_directory.empty()) return {name, Health::kNote, "not checked: give run.directory=DIR"};
  const fs::path there = existing_folder(run_directory);
  struct statvfs disk {};
  if (::statvfs(there.c_str(), &disk) != 0 || ::access(there.c_str(), W_OK) != 0)
    return {name, Health::kFailed,
            "cannot write to " + there.string() + ": " + std::strerror(errno)};
  const double free = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
  return {name, free < kLittleSpace ? Health::kNote : Health::kOk,
          std::to_string(static_cast<int64_t>(free / kGiB)) + " GiB free at " + there.string()};
}

}  // namespace

std::vector<Check> check_machine(const RunConfig& config, torch::Device device) {
  std::vector<Check> checks{{"LibTorch", Health::kOk, TORCH_VERSION}};
  for (const LibraryVersion& version : communication_libraries())
    checks.push_back(
        version_check(version.library, version.built_with, version.found, version.fits));
  checks.push_back(cuda_check());
  const Hdf5Version hdf5 = hdf5_version();
  checks.push_back(version_check("HDF5", hdf5.built_with, hdf5.found, hdf5.fits));
  checks.push_back(host_name_check());
  checks.push_back(gpu_check(device, config.comm.backend));
  const std::string address = pci_address(device);
  checks.push_back(nvlink_check(kNvmlLibrary, address));
  checks.push_back(gpu_memory_check(kNvmlLibrary, address));
  checks.push_back(gpu_faults_check(kKernelLog, address));
  checks.push_back(cores_check("/", usable_cores(), torch::get_num_threads(), address));
  checks.push_back(network_check());
  checks.push_back(network_cards_check("/", device.is_cuda()));
  checks.push_back(lock_check(config.data.path));
  checks.push_back(disk_check(config.run.directory));
  return checks;
}

}  // namespace pinnerformer
