// The item table: the same rows as a dense single-rank reference, whatever the placement and the
// number of ranks; which rows move.
#include "trainer/items/item_table.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "comm/thread_communicator.h"
#include "tests/support/item_table_oracle.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using Columns = std::map<std::string, torch::Tensor>;

Columns train_on(int ranks, const TableRun& run) {
  Columns result;
  std::mutex mutex;
  run_ranks(ranks, [&](Communicator& comm) {
    Columns columns = train_item_table(run, {&comm, &comm});
    const std::lock_guard lock(mutex);
    if (comm.rank() == 0) result = std::move(columns);
  });
  return result;
}

struct Case {
  const char* placement;
  const char* optimizer;
};

class ItemTableOf : public testing::TestWithParam<Case> {};

TEST_P(ItemTableOf, EqualsTheDenseReferenceOnAnyNumberOfRanks) {
  const TableRun run = table_run(GetParam().placement, GetParam().optimizer);
  const torch::Tensor initial = initial_rows(run);
  const Columns expected = train_dense_table(run, initial);
  ASSERT_GT(relative_error(initial, expected.at("rows")), 0.1) << "nothing was learned";
  for (const int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(c10::str(ranks, " ranks"));
    const Columns found = train_on(ranks, run);
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [name, column] : expected)
      EXPECT_LE(relative_error(found.at(name), column), 1e-5) << name;
    EXPECT_TRUE(torch::equal(found.at("updates"), expected.at("updates")));
    const torch::Tensor unused = found.at("rows").narrow(0, run.rows - 3, 3);
    EXPECT_TRUE(torch::equal(unused, initial.narrow(0, run.rows - 3, 3)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ItemTableOf,
    testing::Values(Case{"replicated", "rowwise_adagrad"}, Case{"replicated", "lazy_adam"},
                    Case{"replicated", "adam"}, Case{"row_sharded", "rowwise_adagrad"},
                    Case{"row_sharded", "lazy_adam"}, Case{"row_sharded", "adam"}),
    [](const auto& entry) {
      return std::string(entry.param.placement) + "_" + entry.param.optimizer;
    });

TEST(ItemTable, BothPlacementsEndWithTheSameBits) {
  for (const char* optimizer : {"rowwise_adagrad", "lazy_adam", "adam"})
    for (const int ranks : {2, 3}) {
      const Columns replicated = train_on(ranks, table_run("replicated", optimizer));
      const Columns sharded = train_on(ranks, table_run("row_sharded", optimizer));
      for (const auto& [name, column] : replicated)
        EXPECT_TRUE(torch::equal(sharded.at(name), column)) << name;
    }
}

TEST(ItemTable, MoreRanksThanRowsIsFine) {
  TableRun run = table_run("row_sharded", "lazy_adam");
  run.rows = 5;
  const Columns expected = train_dense_table(run, initial_rows(run));
  const Columns found = train_on(7, run);
  EXPECT_LE(relative_error(found.at("rows"), expected.at("rows")), 1e-5);
}

TEST(ItemTable, StartsWithKeyedRows) {
  TableRun run = table_run("replicated", "rowwise_adagrad");
  run.rows = 4001;
  run.table.init_std = 0.3;
  run.table.dim = 7;
  const torch::Tensor rows = initial_rows(run);
  EXPECT_GT(rows[4000].abs().max().item<float>(), 0.1) << "the unknown row learns like the others";
  const torch::Tensor& learned = rows;
  EXPECT_NEAR(learned.mean().item<double>(), 0, 0.01);
  EXPECT_NEAR(learned.std().item<double>(), 0.3, 0.01);
  EXPECT_LE(learned.abs().max().item<double>(), 0.3 * std::sqrt(3.0) + 1e-6);
  EXPECT_GT(learned.abs().sum(1).min().item<double>(), 0);
  run.rows = 101;  // the size of the table changes no row, but which one is unknown
  EXPECT_TRUE(torch::equal(initial_rows(run).narrow(0, 0, 100), rows.narrow(0, 0, 100)));
}

TEST(ItemTable, RowsWithoutAFiniteGradientStay) {
  const auto comm = make_single_communicator();
  for (const char* optimizer : {"rowwise_adagrad", "lazy_adam", "adam"}) {
    const TableRun run = table_run("replicated", optimizer);
    ItemTable table(run.table, run.optimizer, 6, 1, {comm.get(), comm.get()});
    const torch::Tensor before = table.model_state().at("rows").clone();
    table.request(torch::tensor({int64_t{1}, int64_t{2}, int64_t{3}, int64_t{4}}));
    torch::Tensor gradients = torch::ones_like(table.receive());
    gradients[1].zero_();
    gradients[2][0] = std::numeric_limits<float>::quiet_NaN();
    gradients[3][1] = std::numeric_limits<float>::infinity();
    table.return_gradients(gradients);
    table.update(0.1);
    const torch::Tensor after = table.model_state().at("rows");
    for (const int64_t row : {0, 2, 3, 4, 5})
      EXPECT_TRUE(torch::equal(after[row], before[row])) << row;
    EXPECT_FALSE(torch::equal(after[1], before[1]));
    EXPECT_TRUE(torch::equal(table.model_state().at("updates"),
                             torch::tensor({0, 1, 0, 0, 0, 0}, torch::kInt32)));
  }
}

// A row is used in the first of three steps, and another one in all of them.
TEST(ItemTable, AdamAloneMovesARowThatAStepDoesNotUse) {
  const auto comm = make_single_communicator();
  for (const char* optimizer : {"rowwise_adagrad", "lazy_adam", "adam"}) {
    const TableRun run = table_run("replicated", optimizer);
    ItemTable table(run.table, run.optimizer, 6, 1, {comm.get(), comm.get()});
    std::vector<torch::Tensor> after;  // of each step
    for (const std::vector<int64_t>& used : {std::vector<int64_t>{1, 2}, {2}, {2}}) {
      table.request(torch::tensor(used));
      table.return_gradients(torch::ones_like(table.receive()));
      table.update(0.1);
      after.push_back(table.model_state().at("rows").clone());
    }
    const bool moves = std::string(optimizer) == "adam";
    SCOPED_TRACE(optimizer);
    EXPECT_EQ(torch::equal(after[0][1], after[1][1]), !moves);
    EXPECT_EQ(torch::equal(after[1][1], after[2][1]), !moves);
    EXPECT_TRUE(torch::equal(after[0][3], after[2][3])) << "never used";
    EXPECT_TRUE(torch::equal(table.model_state().at("updates"),
                             torch::tensor({0, moves ? 3 : 1, 3, 0, 0, 0}, torch::kInt32)));
    EXPECT_TRUE(torch::equal(table.changed_rows(), torch::tensor({int64_t{1}, int64_t{2}})));
  }
}

TEST(ItemTable, ARowAskedForTwiceTakesBothGradientsInOneStep) {
  const auto comm = make_single_communicator();
  const TableRun run = table_run("row_sharded", "rowwise_adagrad");
  const auto moved = [&](const std::vector<int64_t>& rows, double gradient) {
    ItemTable table(run.table, run.optimizer, 6, 1, {comm.get(), comm.get()});
    table.request(torch::tensor(rows));
    table.return_gradients(torch::full_like(table.receive(), gradient));
    table.update(0.1);
    EXPECT_EQ(table.model_state().at("updates")[3].item<int32_t>(), 1);
    return table.model_state().at("rows").clone();
  };
  EXPECT_TRUE(torch::equal(moved({3, 3}, 0.25), moved({3}, 0.5)));
}

TEST(ItemTable, RowThatDoesNotExistIsRefused) {
  const auto comm = make_single_communicator();
  for (const char* placement : {"replicated", "row_sharded"}) {
    const TableRun run = table_run(placement, "lazy_adam");
    ItemTable table(run.table, run.optimizer, 6, 1, {comm.get(), comm.get()});
    EXPECT_THROW(table.request(torch::tensor({int64_t{6}})), c10::IndexError);
    EXPECT_THROW(table.request(torch::tensor({int64_t{-1}})), c10::IndexError);
  }
}

}  // namespace
}  // namespace pinnerformer
