// The ranks of this run: MPI if a launcher started us, the device of this rank, the communicators.
#pragma once
#include <memory>
#include <optional>

#include "comm/communicator.h"
#include "comm/mpi_runtime.h"
#include "comm/options.h"
#include "trainer/trainer.h"

namespace pinnerformer {

// Make one per command, destroy it last. Throws CommError where the launcher's number of processes
// is not MPI's (N singletons instead of one job of N ranks), ConfigError where comm.backend cannot
// be had.
class Session {
 public:
  explicit Session(const CommOptions& options);

  [[nodiscard]] Ranks ranks() const { return {control_.get(), tensors(), device_}; }
  [[nodiscard]] bool coordinator() const { return control_->rank() == 0; }

 private:
  [[nodiscard]] Communicator* tensors() const { return nccl_ ? nccl_.get() : control_.get(); }
  void choose_device(const CommOptions& options);

  std::optional<MpiRuntime> mpi_;  // only under a launcher
  std::unique_ptr<Communicator> control_;
  std::unique_ptr<Communicator> nccl_;
  torch::Device device_ = torch::kCPU;
};

}  // namespace pinnerformer
