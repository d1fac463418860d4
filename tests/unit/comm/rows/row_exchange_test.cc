// Rows and gradients between ranks, for both placements of a table, against the table itself.
#include "comm/rows/row_exchange.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>

#include "dataloader/base/random.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

constexpr int64_t kWidth = 3;

enum class Placement { kReplicated, kSharded };

std::unique_ptr<RowExchange> make_exchange(Placement placement, Communicator& comm) {
  return placement == Placement::kReplicated ? make_replicated_exchange(comm)
                                             : make_sharded_exchange(comm, comm);
}

// Row i of the table is (10 i, 10 i + 1, 10 i + 2).
torch::Tensor whole_table(int64_t rows) {
  return 10 * torch::arange(rows, torch::kFloat32).unsqueeze(1) +
         torch::arange(kWidth, torch::kFloat32);
}

torch::Tensor owned_part(const torch::Tensor& whole, const OwnedRows& owned) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < owned.count; ++i) rows.push_back(owned.row(i));
  return whole.index_select(0, torch::tensor(rows, torch::kInt64)).contiguous();
}

// The same values in a strided tensor: columns of a table may be strided.
torch::Tensor every_other(const torch::Tensor& column) {
  return torch::stack({column, column}, 1).select(1, 0);
}

// The rows that a rank requests in a step, sorted by owner in steps 2 and 3; the last rank requests
// none in odd steps.
torch::Tensor rows_of(int rank, int ranks, int64_t step, int64_t rows) {
  std::vector<int64_t> wanted;
  KeyedRandom random(RandomStream::kSynth, {step, rank});
  const bool idle = rank + 1 == ranks && step % 2 == 1;
  for (int64_t row = 0; row < rows && !idle; ++row)
    if (random.below(3) != 0) wanted.push_back(row);
  if (step >= 2) std::ranges::stable_sort(wanted, {}, [&](int64_t row) { return row % ranks; });
  return torch::tensor(wanted, torch::kInt64);
}

// The gradient of a rank for a row; all values differ.
torch::Tensor gradients_of(int rank, const torch::Tensor& rows) {
  return (rows.to(torch::kFloat32) * 7 + 1000 * (rank + 1)).unsqueeze(1).expand({-1, kWidth});
}

struct World {
  Placement placement;
  int ranks;
  int64_t rows;
};

class RowExchangeIn : public testing::TestWithParam<World> {};

TEST_P(RowExchangeIn, DeliversRowsAndBringsGradientsBackInRankOrder) {
  const auto [placement, ranks, total] = GetParam();
  run_ranks(ranks, [&, placement = placement, total = total](Communicator& comm) {
    const auto exchange = make_exchange(placement, comm);
    const OwnedRows owned = exchange->owned(total);
    const torch::Tensor whole = whole_table(total);
    const torch::Tensor table = owned_part(whole, owned);
    for (int64_t step = 0; step < 4; ++step) {
      const torch::Tensor rows = rows_of(comm.rank(), comm.size(), step, total);
      exchange->request(rows, table);
      EXPECT_TRUE(torch::equal(exchange->receive(), whole.index_select(0, rows)));
      exchange->return_gradients(gradients_of(comm.rank(), rows));
      const RowExchange::Returned returned = exchange->returned();
      ASSERT_EQ(returned.local_row.numel(), returned.gradient.size(0));
      torch::Tensor sums = torch::zeros({owned.count});
      torch::Tensor last = torch::zeros({owned.count});
      for (int64_t i = 0; i < returned.local_row.numel(); ++i) {
        const int64_t row = returned.local_row[i].item<int64_t>();
        const auto gradient = returned.gradient[i][0].item<float>();
        EXPECT_GT(gradient, last[row].item<float>()) << "ranks in order";
        last[row] = gradient;
        sums[row] += gradient;
      }
      torch::Tensor expected = torch::zeros({total});
      for (int rank = 0; rank < comm.size(); ++rank) {
        const torch::Tensor theirs = rows_of(rank, comm.size(), step, total);
        expected.index_add_(0, theirs, gradients_of(rank, theirs).select(1, 0));
      }
      EXPECT_TRUE(torch::equal(sums, owned_part(expected, owned))) << "step " << step;
    }
  });
}

TEST_P(RowExchangeIn, CollectAndDistributeAreInverse) {
  const auto [placement, ranks, total] = GetParam();
  run_ranks(ranks, [&, placement = placement, total = total](Communicator& comm) {
    const auto exchange = make_exchange(placement, comm);
    const OwnedRows owned = exchange->owned(total);
    for (const torch::Tensor& whole :
         {whole_table(total), torch::arange(total).to(torch::kInt32) * 3 - 5,
          torch::arange(total, torch::kInt64) * (int64_t{1} << 40)}) {
      const torch::Tensor column = every_other(owned_part(whole, owned));
      torch::Tensor copy = every_other(torch::zeros_like(column));
      for (int64_t first = 0; first < total; first += 4) {
        const int64_t count = std::min<int64_t>(4, total - first);
        const torch::Tensor slice = exchange->collect(column, first, count);
        EXPECT_EQ(slice.defined(), comm.rank() == 0);
        if (slice.defined()) {
          EXPECT_TRUE(torch::equal(slice, whole.narrow(0, first, count)));
        }
        exchange->distribute(
            copy, comm.rank() == 0 ? slice : torch::empty_like(whole.narrow(0, first, count)),
            first);
      }
      EXPECT_TRUE(torch::equal(copy, column));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(
    All, RowExchangeIn,
    testing::Values(World{Placement::kReplicated, 1, 11}, World{Placement::kReplicated, 3, 11},
                    World{Placement::kSharded, 1, 11}, World{Placement::kSharded, 2, 11},
                    World{Placement::kSharded, 3, 11}, World{Placement::kSharded, 4, 12},
                    World{Placement::kReplicated, 5, 3}, World{Placement::kSharded, 5, 3}),
    [](const auto& entry) {
      return std::string(entry.param.placement == Placement::kSharded ? "sharded" : "replicated") +
             "_" + std::to_string(entry.param.ranks) + "ranks_" + std::to_string(entry.param.rows) +
             "rows";
    });

TEST(RowExchange, OrderByOwnerIsStable) {
  const torch::Tensor rows = torch::tensor({5, 2, 9, 4, 7, 0}, torch::kInt64);
  const auto ordered = [&](int64_t owners) {
    return rows.index_select(0, order_by_owner(rows, owners));
  };
  EXPECT_TRUE(torch::equal(ordered(1), rows));
  EXPECT_TRUE(torch::equal(ordered(2), torch::tensor({2, 4, 0, 5, 9, 7}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(ordered(3), torch::tensor({9, 0, 4, 7, 5, 2}, torch::kInt64)));
  EXPECT_EQ(order_by_owner(torch::empty({0}, torch::kInt64), 2).numel(), 0);
}

TEST(RowExchange, EveryRowIsOwnedByOneRankAlone) {
  run_ranks(4, [](Communicator& comm) {
    const auto exchange = make_sharded_exchange(comm, comm);
    for (int64_t total = 0; total < 10; ++total) {
      torch::Tensor owners = torch::zeros({total}, torch::kInt64);
      const OwnedRows owned = exchange->owned(total);
      for (int64_t i = 0; i < owned.count; ++i) owners[owned.row(i)] += 1;
      comm.all_reduce(owners, "owners")->wait();
      EXPECT_TRUE(torch::equal(owners, torch::ones({total}, torch::kInt64))) << total;
    }
  });
}

TEST(RowExchange, RowOutsideOfTheTableIsRefused) {
  for (const Placement placement : {Placement::kReplicated, Placement::kSharded})
    for (const int64_t row : {int64_t{-1}, int64_t{6}})
      EXPECT_THROW(run_ranks(1,
                             [&](Communicator& comm) {
                               const auto exchange = make_exchange(placement, comm);
                               exchange->request(torch::tensor({int64_t{2}, row}), whole_table(6));
                             }),
                   c10::IndexError)
          << row;
}

}  // namespace
}  // namespace pinnerformer
