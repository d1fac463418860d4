// Runs a function on one thread per rank, as a launcher runs one process per rank.
#pragma once
#include <functional>

#include "comm/communicator.h"

namespace pinnerformer {

constexpr double kTestTimeoutSeconds = 60;

// Calls `body` on `ranks` threads, each with its own communicator, and joins them. Where ranks
// threw, the first exception is rethrown: the others only follow from the lost rank.
void run_ranks(int ranks, const std::function<void(Communicator&)>& body,
               double timeout_seconds = kTestTimeoutSeconds);

}  // namespace pinnerformer
