// The ranks of this run: MPI if a launcher started the process, the device of this rank, the
// communicators, and the watchdog that monitors them.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi/mpi_runtime.h"
#include "comm/options.h"
#include "comm/ranks.h"
#include "comm/watchdog/watchdog.h"
#include "comm/watchdog/watched_communicator.h"

namespace pinnerformer {

// `gpus` names the GPU each rank would take, with its host; "" for a rank that sees none.
// Why the ranks cannot each have a GPU of their own, "" where they can.
[[nodiscard]] std::string why_gpus_are_missing(const std::vector<std::string>& gpus);
// The message for a run that leaves GPUs unused because there is not one for every rank; "" where
// every rank has its own or none sees any.
[[nodiscard]] std::string idle_gpus_note(const std::vector<std::string>& gpus);

// Why a program that was built with CUDA `built_with` cannot use the GPUs of a driver for CUDA
// `driver` (both as CUDA writes them, 13000 is 13.0; 0: there is no driver); "" where it can, or
// where there is none.
[[nodiscard]] std::string old_driver_note(int driver, int built_with);

// Make one per command, destroy it last. Throws CommError where the launcher's number of processes
// is not MPI's (N singletons instead of one job of N ranks), ConfigError where comm.backend is not
// available or MPI cannot take the host's name. Where comm.backend=auto takes the CPU although some
// rank sees a GPU, rank 0 says why on stderr. From its construction to its end the watchdog ends
// the process, with exit code 75 and a report on stderr, where a collective, MPI's start or MPI's
// end exceeds its deadline.
class Session {
 public:
  explicit Session(const CommOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] Ranks ranks() const {
    return {control_.get(), tensors(), device_, watchdog_.get()};
  }
  [[nodiscard]] bool coordinator() const { return control_->rank() == 0; }

 private:
  [[nodiscard]] WatchedCommunicator* tensors() const {
    return nccl_ ? nccl_.get() : control_.get();
  }
  void start_mpi();
  void choose_device(const CommOptions& options);
  void start_nccl(const CommOptions& options);
  void end_job(const std::string& report);

  std::unique_ptr<Watchdog> watchdog_;
  std::optional<MpiRuntime> mpi_;  // only under a launcher
  std::unique_ptr<Communicator> control_backend_, nccl_backend_;
  std::unique_ptr<WatchedCommunicator> control_, nccl_;
  std::atomic<Communicator*> to_abort_ = nullptr;  // what the watchdog aborts
  torch::Device device_ = torch::kCPU;
};

}  // namespace pinnerformer
