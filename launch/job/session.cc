#include "launch/job/session.h"

#include <torch/cuda.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <thread>

#include "comm/agreement.h"
#include "comm/host_name.h"
#include "comm/mpi/mpi_communicator.h"
#include "comm/thread_communicator.h"
#include "comm/watchdog/nonblocking_write.h"
#include "configs/errors.h"
#include "launch/cli/exit_code.h"
#include "launch/cli/launcher_rank.h"
#ifdef PF_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>

#include "comm/nccl/nccl_communicator.h"
#endif

namespace pinnerformer {
namespace {

constexpr double kNoDeadline = std::numeric_limits<double>::infinity();  // the watchdog has it

// `srun` without the right PMI plugin starts N jobs of one rank instead of one job of N ranks. They
// would overwrite each other's checkpoints.
void refuse_singletons(const MpiRuntime& mpi) {
  const std::optional<int> expected = launcher_world_size();
  if (expected && *expected != mpi.size())
    throw CommError("the launcher started " + std::to_string(*expected) +
                    " processes, but MPI sees a job of " + std::to_string(mpi.size()) +
                    " rank(s): the launcher and the MPI library do not fit. Under Slurm use "
                    "`srun --mpi=pmix`, or `mpirun` of the Open MPI this program was built with");
}

#ifdef PF_WITH_CUDA
constexpr const char* kShareGpu = "PF_TEST_SHARE_GPU";

// For tests of the NCCL code on one GPU: ranks with different host names may share a GPU, and all
// traffic goes over the loopback device. Must come before NCCL's first call.
void let_ranks_share_a_gpu(int rank) {
  setenv("NCCL_HOSTID", ("test-" + std::to_string(rank)).c_str(), /*overwrite=*/1);
  for (const auto& [name, value] : {std::pair{"NCCL_SOCKET_IFNAME", "lo"},
                                    {"NCCL_IB_DISABLE", "1"},
                                    {"NCCL_NET", "Socket"},
                                    {"NCCL_MNNVL_ENABLE", "0"},
                                    {"NCCL_NVLS_ENABLE", "0"},
                                    {"NCCL_P2P_DISABLE", "1"},
                                    {"NCCL_SHM_DISABLE", "1"},
                                    {"NCCL_ALGO", "Ring"},
                                    {"NCCL_PROTO", "Simple"},
                                    {"NCCL_MAX_CTAS", "2"},
                                    {"NCCL_BUFFSIZE", "1048576"}})
    setenv(name, value, /*overwrite=*/0);
}
#endif

// "host, GPU" of this rank; "" where it has no GPU.
std::string gpu_name([[maybe_unused]] int index) {
#ifdef PF_WITH_CUDA
  if (index >= 0) {
    std::string name = host_name() + ", GPU ";
    for (const char byte :
         at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(index))->uuid.bytes) {
      constexpr const char* kDigits = "0123456789abcdef";
      const auto value = static_cast<unsigned char>(byte);
      name += {kDigits[value >> 4], kDigits[value & 15]};
    }
    return name;
  }
#endif
  return "";
}

// See old_driver_note(): of this host.
std::string driver_note() {
#ifdef PF_WITH_CUDA
  int driver = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess) return old_driver_note(driver, CUDART_VERSION);
#endif
  return "";
}

}  // namespace

std::string old_driver_note(int driver, int built_with) {
  const auto dotted = [](int code) {
    return std::to_string(code / 1000) + "." + std::to_string(code % 1000 / 10);
  };
  if (driver == 0 || driver / 1000 >= built_with / 1000) return "";
  return "the GPU driver of " + host_name() + " is for CUDA " + dotted(driver) +
         ", this program needs one for CUDA " + dotted(built_with) +
         ": update the driver, or build with a LibTorch for CUDA " + dotted(driver);
}

std::string why_gpus_are_missing(const std::vector<std::string>& gpus) {
  for (size_t r = 0; r < gpus.size(); ++r) {
    if (gpus[r].empty()) return "rank " + std::to_string(r) + " sees no GPU";
    for (size_t other = 0; other < r; ++other)
      if (gpus[other] == gpus[r])
        return "ranks " + std::to_string(other) + " and " + std::to_string(r) +
               " would share one (" + gpus[r] + ")";
  }
  return "";
}

std::string idle_gpus_note(const std::vector<std::string>& gpus) {
  const std::string missing = why_gpus_are_missing(gpus);
  const bool none = std::ranges::all_of(gpus, [](const std::string& gpu) { return gpu.empty(); });
  if (missing.empty() || none) return "";
  return "training on the CPU, GPUs are not used: every rank would need a GPU of its own, but " +
         missing;
}

Session::Session(const CommOptions& options) {
  if (options.backend == CommBackend::kThreads && launcher_world_size().value_or(1) > 1)
    throw ConfigError("comm.backend: threads is one process, the launcher started " +
                      std::to_string(*launcher_world_size()) + "; use auto, mpi or nccl");
  watchdog_ = std::make_unique<Watchdog>(
      options, launcher_rank().value_or(0),
      Watchdog::Events{
          [this](const std::string& report) { end_job(report); },
          [](const std::string& report) { write_without_blocking(STDERR_FILENO, report + "\n"); }});
  if (options.backend != CommBackend::kThreads && launcher_rank()) start_mpi();
  control_backend_ =
      mpi_ && mpi_->size() > 1 ? make_mpi_communicator(kNoDeadline) : make_single_communicator();
  control_ = std::make_unique<WatchedCommunicator>(*control_backend_, *watchdog_);
  if (control_->size() > 1) watchdog_->connect(*control_);
  choose_device(options);
}

// MPI_Finalize waits for all ranks, like a collective.
Session::~Session() {
  const Watchdog::Wait wait(*watchdog_, watchdog_->begin("MPI_Finalize"), "MPI_Finalize");
  to_abort_ = nullptr;
  nccl_backend_.reset();
  control_backend_.reset();
  mpi_.reset();
}

void Session::start_mpi() {
  if (const std::string fault = host_name_fault(host_name()); !fault.empty())
    throw ConfigError(fault);
  const Watchdog::Wait wait(*watchdog_, watchdog_->begin("MPI_Init"), "MPI_Init");
  mpi_.emplace();
  refuse_singletons(*mpi_);
}

// Exits without MPI_Abort, which could block; the launcher passes the exit code on.
void Session::end_job(const std::string& report) {
  const std::string rank =
      launcher_rank() ? "[rank " + std::to_string(*launcher_rank()) + "] " : "";
  write_without_blocking(STDERR_FILENO,
                         "pinnerformer: " + rank + report +
                             ". The job ends here. Started again, a training goes on from its "
                             "newest checkpoint\n");
  if (Communicator* device = to_abort_) {
    std::thread([] {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      std::_Exit(kCommFailed);
    }).detach();
    device->abort();
  }
  std::_Exit(kCommFailed);
}

void Session::choose_device(const CommOptions& options) {
  if (options.backend == CommBackend::kMpi || options.backend == CommBackend::kThreads) return;
  const auto devices = static_cast<int>(torch::cuda::device_count());
  const int index = devices == 0 ? -1 : (mpi_ ? mpi_->local_rank() : 0) % devices;
  const auto gpus = gather_texts(*control_, gpu_name(index), /*longest=*/160, "GPUs of the ranks");
  std::string missing = why_gpus_are_missing(gpus);
  const std::string old_driver = devices == 0 ? driver_note() : "";
#ifdef PF_WITH_CUDA
  if (index >= 0 && std::getenv(kShareGpu) != nullptr) {
    let_ranks_share_a_gpu(control_->rank());
    missing.clear();
  }
#endif
  if (options.backend == CommBackend::kNccl && !missing.empty())
    throw ConfigError("comm.backend: nccl needs a GPU of its own for every rank, but " + missing +
                      (old_driver.empty() ? "" : " (" + old_driver + ")") +
                      ". Start fewer ranks per host, or use mpi");
  if (!missing.empty()) {
    const std::string note =
        old_driver.empty() ? idle_gpus_note(gpus) : "the CPU computes: " + old_driver;
    if (coordinator() && !note.empty()) std::cerr << "pinnerformer: " + note + "\n" << std::flush;
    return;
  }
  device_ = torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
  start_nccl(options);
}

void Session::start_nccl([[maybe_unused]] const CommOptions& options) {
#ifdef PF_WITH_CUDA
  c10::cuda::set_device(device_.index());
  // cuDNN plans its attention anew for every pair of batch size and length, which takes longer than
  // a step; the kernels of LibTorch itself take any shape.
  at::globalContext().setSDPUseCuDNN(false);
  if (control_->size() == 1) return;
  const Watchdog::Wait wait(*watchdog_, watchdog_->begin("start of NCCL"), "start of NCCL");
  nccl_backend_ = make_nccl_communicator(*control_backend_, device_, kNoDeadline);
  nccl_ = std::make_unique<WatchedCommunicator>(*nccl_backend_, *watchdog_);
  to_abort_ = nccl_backend_.get();
#endif
}

}  // namespace pinnerformer
