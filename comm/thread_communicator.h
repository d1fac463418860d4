// Communicators among N threads of one process: one rank without MPI, dry runs, and tests of
// everything distributed without a launcher.
#pragma once
#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// One communicator per thread; thread r uses the r-th. Sums are taken in ascending rank order.
// A collective that not every thread joins within the deadline throws CommError on those that did.
[[nodiscard]] std::vector<std::unique_ptr<Communicator>> make_thread_communicators(
    int size, double timeout_seconds);

// A world of one rank.
[[nodiscard]] std::unique_ptr<Communicator> make_single_communicator();

}  // namespace pinnerformer
