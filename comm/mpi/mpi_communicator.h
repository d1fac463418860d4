// Communicator over MPI for CPU tensors: non-blocking collectives, polled until their deadline.
#pragma once
#include <memory>

#include "comm/communicator.h"

namespace pinnerformer {

// Uses duplicates of MPI_COMM_WORLD, so that its messages never match another communicator's.
// Needs a live MpiRuntime. A collective that misses the deadline throws CommError with its name;
// infinity: no deadline, for use under a watchdog.
[[nodiscard]] std::unique_ptr<Communicator> make_mpi_communicator(double timeout_seconds);

// MPI's own blocking sum over all ranks of the job, in place, float32: the reference of benchmarks.
void plain_mpi_all_reduce(torch::Tensor tensor);

}  // namespace pinnerformer
