// Runs one function per rank of a thread world, as the launcher would run one process per rank.
#pragma once
#include <functional>

#include "comm/communicator.h"

namespace pinnerformer {

constexpr double kTestTimeoutSeconds = 60;

// Calls `body` on `ranks` threads, each with its own communicator, and joins them. Where ranks
// threw, the exception of the one that threw first is rethrown: the others only lost their peer.
void run_ranks(int ranks, const std::function<void(Communicator&)>& body,
               double timeout_seconds = kTestTimeoutSeconds);

}  // namespace pinnerformer
