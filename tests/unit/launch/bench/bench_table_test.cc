// The table's benchmark: its count of bytes on the wire is the formula's, in both placements.
#include <gtest/gtest.h>

#include <filesystem>

#include "dataloader/base/enum_name.h"
#include "launch/bench/table.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

TableBenchOptions small_bench(const char* placement, int64_t largest, int64_t steps) {
  TableBenchOptions options;
  options.table.placement = enum_value<ItemPlacement>(placement);
  options.table.dim = 6;
  options.rows = {50, largest};
  options.unique = 37;
  options.steps = steps;
  return options;
}

TEST(BenchTable, BytesOnTheWireEqualTheFormula) {
  for (const char* placement : {"replicated", "row_sharded"})
    for (const int ranks : {1, 2, 3, 4})
      run_ranks(ranks, [&](Communicator& comm) {
        const TableBenchOptions options = small_bench(placement, /*largest=*/500, /*steps=*/4);
        const TableBench bench = bench_table(options, comm);
        ASSERT_EQ(bench.results.size(), 2U);
        for (const TableBenchResult& result : bench.results) {
          EXPECT_EQ(result.bytes_on_wire, result.bytes_on_wire_formula)
              << placement << " " << ranks << " ranks";
          EXPECT_EQ(result.bytes_on_wire > 0, ranks > 1);
          EXPECT_GT(result.step_ms_same_rows, 0);
          const int keepers = options.table.placement == ItemPlacement::kReplicated ? ranks : 1;
          EXPECT_EQ(result.bytes_to_move, 37 * (1 + 2 * keepers) * 4 * 6);
        }
      });
}

// The largest table goes to the disk and comes back; the files are removed.
TEST(BenchTable, SavesTheWholeTable) {
  for (const char* placement : {"replicated", "row_sharded"}) {
    const TemporaryDirectory directory;
    run_ranks(2, [&](Communicator& comm) {
      TableBenchOptions options = small_bench(placement, /*largest=*/5000, /*steps=*/1);
      options.save_to = directory / "saved";
      const TableBench bench = bench_table(options, comm);
      ASSERT_TRUE(bench.save);
      // Rows, counts, sums of Adagrad, and hashes of the items.
      EXPECT_GE(bench.save->bytes, 5000 * (6 * 4 + 4 + 4) + 4999 * 8);
      EXPECT_LT(bench.save->bytes, 5000 * (6 * 4 + 4 + 4) + 4999 * 8 + 4096);
    });
    EXPECT_TRUE(std::filesystem::is_empty(directory / "saved"));
  }
}

}  // namespace
}  // namespace pinnerformer
