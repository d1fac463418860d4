#include "launch/session.h"

#include <torch/cuda.h>

#include "comm/mpi_communicator.h"
#include "comm/thread_communicator.h"
#include "configs/errors.h"
#include "launch/launcher_rank.h"
#ifdef PF_WITH_CUDA
#include <c10/cuda/CUDAFunctions.h>

#include "comm/nccl_communicator.h"
#endif

namespace pinnerformer {
namespace {

// `srun` without the right PMI plugin starts N processes that each believe to be alone. Trained
// like that, they would overwrite each other's checkpoints.
void refuse_singletons(const MpiRuntime& mpi) {
  const std::optional<int> expected = launcher_world_size();
  if (expected && *expected != mpi.size())
    throw CommError("the launcher started " + std::to_string(*expected) +
                    " processes, but MPI sees a job of " + std::to_string(mpi.size()) +
                    " rank(s): the launcher and the MPI library do not fit. Under Slurm use "
                    "`srun --mpi=pmix`, or `mpirun` of the Open MPI this program was built with");
}

// True where every rank of every host has a GPU of its own.
bool every_rank_has_a_gpu(Communicator& control, int local_rank) {
  const bool mine = local_rank < static_cast<int>(torch::cuda::device_count());
  torch::Tensor missing = torch::tensor({mine ? 0 : 1}, torch::kInt64);
  control.all_reduce(missing, "ranks without a GPU")->wait();
  return missing.item<int64_t>() == 0;
}

}  // namespace

Session::Session(const CommOptions& options) {
  if (options.backend == "threads" && launcher_world_size().value_or(1) > 1)
    throw ConfigError("comm.backend: threads is one process, the launcher started " +
                      std::to_string(*launcher_world_size()) + "; use auto, mpi or nccl");
  if (options.backend != "threads" && launcher_rank()) {
    mpi_.emplace();
    refuse_singletons(*mpi_);
  }
  control_ = mpi_ && mpi_->size() > 1 ? make_mpi_communicator(options.timeout_seconds)
                                      : make_single_communicator();
  choose_device(options);
}

void Session::choose_device(const CommOptions& options) {
  if (options.backend == "mpi" || options.backend == "threads") return;
  const int local_rank = mpi_ ? mpi_->local_rank() : 0;
  const bool gpus = every_rank_has_a_gpu(*control_, local_rank);
  if (options.backend == "nccl" && !gpus)
    throw ConfigError("comm.backend: nccl needs a GPU of its own for every rank; this host shows " +
                      std::to_string(torch::cuda::device_count()) + " to local rank " +
                      std::to_string(local_rank) + ". Start fewer ranks per host, or use mpi");
#ifdef PF_WITH_CUDA
  if (!gpus) return;
  device_ = torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(local_rank));
  c10::cuda::set_device(device_.index());
  if (control_->size() > 1) nccl_ = make_nccl_communicator(*control_, options.timeout_seconds);
#endif
}

}  // namespace pinnerformer
