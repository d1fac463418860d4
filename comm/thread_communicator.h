// Communicators between threads of one process: for a single rank without MPI, and for tests of
// distributed code without a launcher.
#pragma once
#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// One communicator per thread; thread r uses the r-th. Sums are computed in ascending rank order.
// A collective that not every thread joins within the deadline throws CommError on those that did.
[[nodiscard]] std::vector<std::unique_ptr<Communicator>> make_thread_communicators(
    int size, double timeout_seconds);

// The communicator of a single rank.
[[nodiscard]] std::unique_ptr<Communicator> make_single_communicator();

}  // namespace pinnerformer
