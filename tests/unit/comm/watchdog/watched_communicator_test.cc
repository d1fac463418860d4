// A watched communicator behaves like the one behind it and adds the place to a failure.
#include "comm/watchdog/watched_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "tests/support/communicator_suite.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

TEST(WatchedCommunicator, KeepsThePromisesOfACommunicator) {
  run_ranks(3, [](Communicator& comm) {
    Watchdog watchdog(CommOptions{}, comm.rank(), {});
    WatchedCommunicator watched(comm, watchdog);
    communicator_suite::check_everything(watched);
  });
}

TEST(WatchedCommunicator, AFailureNamesStepPhaseAndCollective) {
  const auto lonely = [](Communicator& comm) {
    Watchdog watchdog(CommOptions{}, comm.rank(), {});
    watchdog.enter(31, "forward");
    WatchedCommunicator watched(comm, watchdog);
    if (comm.rank() == 0) watched.all_reduce(torch::ones({3}), "lonely sum")->wait();
  };
  try {
    run_ranks(2, lonely, /*timeout_seconds=*/0.2);
    ADD_FAILURE() << "finished without rank 1";
  } catch (const CommError& error) {
    EXPECT_THAT(error.what(), HasSubstr("step 31, 'forward', collective 1 'lonely sum': "));
  }
}

}  // namespace
}  // namespace pinnerformer
