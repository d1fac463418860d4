// Communicator over MPI for CPU tensors: non-blocking collectives, polled until their deadline.
#pragma once
#include <memory>

#include "comm/communicator.h"

namespace pinnerformer {

// A duplicate of MPI_COMM_WORLD, so that its traffic never mixes with another communicator's.
// Needs a live MpiRuntime. A collective that misses the deadline throws CommError with its name.
[[nodiscard]] std::unique_ptr<Communicator> make_mpi_communicator(double timeout_seconds);

}  // namespace pinnerformer
