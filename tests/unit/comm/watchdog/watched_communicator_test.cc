// A watched communicator keeps every promise of the one behind it, counts what it moves, and says
// more about a failure.
#include "comm/watchdog/watched_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "comm/gradients/gather_with_grad.h"
#include "comm/gradients/gradient_reducer.h"
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

TEST(WatchedCommunicator, CountsWhatEachRankMustReceive) {
  run_ranks(4, [](Communicator& comm) {
    Watchdog watchdog(CommOptions{}, comm.rank(), {});
    WatchedCommunicator watched(comm, watchdog);
    const auto added = [&](const auto& call) {
      const int64_t before = watched.traffic().bytes;
      call();
      return watched.traffic().bytes - before;
    };
    const std::vector<int64_t> rows = {1, 2, 3, 4};
    const int64_t mine = rows[static_cast<size_t>(comm.rank())];
    EXPECT_EQ(added([&] { watched.all_reduce(torch::ones({100}), "a")->wait(); }), 2 * 3 * 100);
    EXPECT_EQ(
        added([&] {
          watched.all_gather(torch::zeros({10, 5}), torch::ones({mine, 5}), rows, "b")->wait();
        }),
        (10 - mine) * 5 * 4);
    EXPECT_EQ(
        added([&] {
          watched.reduce_scatter(torch::zeros({mine, 5}), torch::ones({10, 5}), rows, "c")->wait();
        }),
        3 * mine * 5 * 4);
    EXPECT_EQ(added([&] { watched.broadcast(torch::ones({7}, torch::kInt64), 2, "d")->wait(); }),
              comm.rank() == 2 ? 0 : 56);
    EXPECT_EQ(watched.traffic().calls, 4);
  });
}

// The bytes of a step: every gradient once around the ring, the pool out and its gradient back.
TEST(WatchedCommunicator, AStepMovesWhatTheFormulaSays) {
  constexpr int64_t kRows = 12, kWidth = 5, kRanks = 3;
  run_ranks(kRanks, [&](Communicator& comm) {
    Watchdog watchdog(CommOptions{}, comm.rank(), {});
    WatchedCommunicator watched(comm, watchdog);
    const torch::Tensor weight = torch::ones({kWidth, 30}).requires_grad_();
    const torch::Tensor tower = torch::ones({kWidth, kWidth}).requires_grad_();
    GradientReducer reducer({tower, weight}, watched, CommOptions{});
    const std::vector<int64_t> counts(kRanks, kRows / kRanks);
    reducer.prepare();
    const torch::Tensor pool =
        gather_with_grad(torch::ones({kRows / kRanks, kWidth}).matmul(tower), counts, watched);
    pool.matmul(weight).sum().backward();
    reducer.finish();
    const int64_t gradients = 4 * (kWidth * 30 + kWidth * kWidth), pool_bytes = 4 * kRows * kWidth;
    EXPECT_EQ(watched.traffic().bytes,
              2 * (kRanks - 1) * gradients / kRanks + 2 * (kRanks - 1) * pool_bytes / kRanks);
    EXPECT_EQ(watched.traffic().calls, std::ssize(reducer.plan()) + 2);
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
