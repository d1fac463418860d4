// Values and gradients of a gather against a single process that holds all rows.
#include "comm/gradients/gather_with_grad.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <numeric>

#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

constexpr int64_t kColumns = 5;

torch::Tensor all_rows(int64_t rows) {
  return torch::sin(torch::arange(rows * kColumns, torch::kFloat32) * 1.3).view({rows, kColumns});
}

// The loss of rank r: it depends on every row, by weights that differ per rank.
torch::Tensor loss_of(int rank, const torch::Tensor& pool) {
  const torch::Tensor weight =
      torch::cos(torch::arange(pool.numel(), torch::kFloat32) * (rank + 0.7)).view_as(pool);
  return (torch::tanh(pool * (rank + 1.0)) * weight).sum();
}

void expect_single_process(const std::vector<int64_t>& counts) {
  const int ranks = static_cast<int>(counts.size());
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const torch::Tensor whole = all_rows(rows).requires_grad_(true);
  for (int rank = 0; rank < ranks; ++rank) loss_of(rank, whole).backward();

  run_ranks(ranks, [&](Communicator& comm) {
    const auto rank = static_cast<size_t>(comm.rank());
    const int64_t first = std::accumulate(counts.begin(), counts.begin() + comm.rank(), int64_t{0});
    torch::Tensor mine = all_rows(rows).narrow(0, first, counts[rank]).clone().requires_grad_(true);
    const torch::Tensor pool = gather_with_grad(mine, counts, comm);
    EXPECT_TRUE(torch::equal(pool.detach(), whole.detach()));
    loss_of(comm.rank(), pool).backward();
    EXPECT_TRUE(
        torch::allclose(mine.grad(), whole.grad().narrow(0, first, counts[rank]), 1e-5, 1e-6))
        << "rank " << rank << " of " << ranks;
  });
}

TEST(GatherWithGrad, HasTheGradientOfOneProcess) {
  expect_single_process({7});
  expect_single_process({4, 4});
  expect_single_process({3, 5, 1});
  expect_single_process({2, 0, 6, 1});
  expect_single_process({0, 0, 3});
}

// A factor of the loss scales the gradients of other ranks' rows, as for a global weight.
TEST(GatherWithGrad, ScalesWithTheIncomingGradient) {
  run_ranks(2, [](Communicator& comm) {
    torch::Tensor mine = torch::ones({2, 3}).requires_grad_(true);
    const torch::Tensor pool = gather_with_grad(mine, {2, 2}, comm);
    (pool.sum() * (comm.rank() == 0 ? 10.0 : 0.5)).backward();
    EXPECT_TRUE(torch::equal(mine.grad(), torch::full({2, 3}, 10.5)));
  });
}

TEST(GatherWithGrad, TakesStridedInput) {
  run_ranks(2, [](Communicator& comm) {
    const torch::Tensor base = torch::arange(6, torch::kFloat32).view({3, 2});
    torch::Tensor leaf = base.clone().requires_grad_(true);
    const torch::Tensor pool = gather_with_grad(leaf.t(), {2, 2}, comm);
    EXPECT_TRUE(torch::equal(pool.detach(), torch::cat({base.t(), base.t()})));
    pool.narrow(0, 0, 1).sum().backward();
    const torch::Tensor expected = torch::zeros({3, 2});
    if (comm.rank() == 0) expected.select(1, 0).fill_(2);
    EXPECT_TRUE(torch::equal(leaf.grad(), expected));
  });
}

}  // namespace
}  // namespace pinnerformer
