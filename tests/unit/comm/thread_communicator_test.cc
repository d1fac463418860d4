// The conformance suite of communicators over threads, for every number of ranks that tests use.
#include "comm/thread_communicator.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <atomic>

#include "tests/support/communicator_suite.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

class ThreadCommunicatorWorld : public testing::TestWithParam<int> {};

TEST_P(ThreadCommunicatorWorld, KeepsThePromisesOfACommunicator) {
  run_ranks(GetParam(), [](Communicator& comm) { communicator_suite::check_everything(comm); });
}

TEST_P(ThreadCommunicatorWorld, KnowsRankAndSize) {
  std::atomic<int> seen = 0;
  run_ranks(GetParam(), [&](Communicator& comm) {
    EXPECT_EQ(comm.size(), GetParam());
    seen += 1 << comm.rank();
  });
  EXPECT_EQ(seen, (1 << GetParam()) - 1);
}

INSTANTIATE_TEST_SUITE_P(Worlds, ThreadCommunicatorWorld, testing::Values(1, 2, 3, 4, 8));

TEST(ThreadCommunicator, SingleRankNeedsNobody) {
  const auto comm = make_single_communicator();
  EXPECT_EQ(comm->rank(), 0);
  EXPECT_EQ(comm->size(), 1);
  communicator_suite::check_everything(*comm);
}

TEST(ThreadCommunicator, MissingRankHitsTheDeadlineByName) {
  const auto lonely = [](Communicator& comm) {
    torch::Tensor tensor = torch::ones({3});
    if (comm.rank() != 1) comm.all_reduce(tensor, "lonely sum")->wait();
  };
  try {
    run_ranks(3, lonely, /*timeout_seconds=*/0.2);
    ADD_FAILURE() << "finished without rank 1";
  } catch (const CommError& error) {
    EXPECT_NE(std::string(error.what()).find("lonely sum"), std::string::npos) << error.what();
  }
}

TEST(ThreadCommunicator, DifferentOrderIsAnErrorNotAWrongSum) {
  const auto confused = [](Communicator& comm) {
    torch::Tensor tensor = torch::ones({3});
    comm.all_reduce(tensor, comm.rank() == 0 ? "first" : "second")->wait();
  };
  EXPECT_THROW(run_ranks(2, confused, /*timeout_seconds=*/0.5), std::exception);
}

TEST(ThreadCommunicator, UnequalCountsAreAnError) {
  const auto wrong = [](Communicator& comm) {
    // Rank 0 announces one row less than rank 1 expects from it.
    const std::vector<int64_t> send{comm.rank() == 0 ? 1 : 2, comm.rank() == 0 ? 1 : 2};
    const std::vector<int64_t> receive{2, 2};
    torch::Tensor output = torch::zeros({4}), input = torch::ones({send[0] + send[1]});
    comm.all_to_all(output, input, receive, send, "uneven")->wait();
  };
  EXPECT_THROW(run_ranks(2, wrong, /*timeout_seconds=*/0.5), std::exception);
}

}  // namespace
}  // namespace pinnerformer
