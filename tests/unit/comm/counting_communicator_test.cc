// The bytes that each collective, and a step of gradients and negatives, must deliver to a rank.
#include "comm/counting_communicator.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <vector>

#include "comm/gradients/gather_with_grad.h"
#include "comm/gradients/gradient_reducer.h"
#include "tests/support/communicator_suite.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

TEST(CountingCommunicator, BehavesLikeTheCommunicatorBehindIt) {
  run_ranks(3, [](Communicator& comm) {
    CountingCommunicator counting(comm);
    communicator_suite::check_everything(counting);
  });
}

TEST(CountingCommunicator, CountsWhatEachRankMustReceive) {
  run_ranks(4, [](Communicator& comm) {
    CountingCommunicator counting(comm);
    const auto added = [&](const auto& call) {
      const int64_t before = counting.bytes_received();
      call();
      return counting.bytes_received() - before;
    };
    const std::vector<int64_t> rows = {1, 2, 3, 4};
    const int64_t mine = rows[static_cast<size_t>(comm.rank())];
    EXPECT_EQ(added([&] { counting.all_reduce(torch::ones({100}), "a")->wait(); }), 2 * 3 * 100);
    EXPECT_EQ(
        added([&] {
          counting.all_gather(torch::zeros({10, 5}), torch::ones({mine, 5}), rows, "b")->wait();
        }),
        (10 - mine) * 5 * 4);
    EXPECT_EQ(
        added([&] {
          counting.reduce_scatter(torch::zeros({mine, 5}), torch::ones({10, 5}), rows, "c")->wait();
        }),
        3 * mine * 5 * 4);
    EXPECT_EQ(added([&] { counting.broadcast(torch::ones({7}, torch::kInt64), 2, "d")->wait(); }),
              comm.rank() == 2 ? 0 : 56);
    EXPECT_EQ(counting.calls(), 4);
  });
}

// The bytes of a step: gradients by all-reduce, the pool by all-gather, its gradient back.
TEST(CountingCommunicator, AStepMovesWhatTheFormulaSays) {
  constexpr int64_t kRows = 12, kWidth = 5, kRanks = 3;
  run_ranks(kRanks, [&](Communicator& comm) {
    CountingCommunicator counting(comm);
    const torch::Tensor weight = torch::ones({kWidth, 30}).requires_grad_();
    const torch::Tensor tower = torch::ones({kWidth, kWidth}).requires_grad_();
    GradientReducer reducer({tower, weight}, counting, CommOptions{});
    const std::vector<int64_t> counts(kRanks, kRows / kRanks);
    reducer.prepare();
    const torch::Tensor pool =
        gather_with_grad(torch::ones({kRows / kRanks, kWidth}).matmul(tower), counts, counting);
    pool.matmul(weight).sum().backward();
    reducer.finish();
    const int64_t gradients = 4 * (kWidth * 30 + kWidth * kWidth), pool_bytes = 4 * kRows * kWidth;
    EXPECT_EQ(counting.bytes_received(),
              2 * (kRanks - 1) * gradients / kRanks + 2 * (kRanks - 1) * pool_bytes / kRanks);
    EXPECT_EQ(counting.calls(), std::ssize(reducer.plan()) + 2);
  });
}

}  // namespace
}  // namespace pinnerformer
