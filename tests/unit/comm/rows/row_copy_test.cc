// Single rows of a table, against plain indexing.
#include "comm/rows/row_copy.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace pinnerformer {
namespace {

// More rows than one thread takes at a time, wider than a cache line, some of them twice.
TEST(RowCopy, TakesRowsOfAnyType) {
  const torch::Tensor rows = torch::arange(5000, torch::kInt64).mul(7919).remainder(3001);
  for (const auto type : {torch::kHalf, torch::kFloat32, torch::kInt64, torch::kUInt8}) {
    const torch::Tensor table =
        torch::arange(3001 * 37, torch::kInt64).remainder(251).to(type).view({3001, 37});
    EXPECT_TRUE(torch::equal(gather_rows(table, rows), table.index_select(0, rows))) << type;
  }
}

TEST(RowCopy, RowsMayHaveOtherColumnsBehindThem) {
  const torch::Tensor records = torch::randn({300, 21});
  const torch::Tensor table = records.narrow(1, 0, 17);
  const torch::Tensor rows = torch::arange(40, torch::kInt64).mul(7);
  EXPECT_TRUE(torch::equal(gather_rows(table, rows), table.index_select(0, rows)));
}

TEST(RowCopy, NamesTheRowThatATableHasNot) {
  const torch::Tensor table = torch::zeros({10, 4});
  EXPECT_THROW(static_cast<void>(gather_rows(table, torch::tensor({3, 10}, torch::kInt64))),
               c10::IndexError);
  EXPECT_THROW(static_cast<void>(take_rows(table, torch::tensor({-1}, torch::kInt64))),
               c10::IndexError);
}

TEST(RowCopy, RefusesOtherTensors) {
  const torch::Tensor table = torch::zeros({10, 4}), rows = torch::tensor({1, 2}, torch::kInt64);
  EXPECT_THROW(static_cast<void>(gather_rows(table.t(), rows)), c10::Error);
  EXPECT_THROW(static_cast<void>(gather_rows(table, rows.to(torch::kInt32))), c10::Error);
}

}  // namespace
}  // namespace pinnerformer
