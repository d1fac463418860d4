// The table's benchmark: its count of bytes on the wire is the formula's, in both placements.
#include "launch/bench_table.h"

#include <gtest/gtest.h>

#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

TEST(BenchTable, BytesOnTheWireEqualTheFormula) {
  for (const char* placement : {"replicated", "row_sharded"})
    for (const int ranks : {1, 2, 3, 4})
      run_ranks(ranks, [&](Communicator& comm) {
        TableBenchOptions options;
        options.table.placement = placement;
        options.table.dim = 6;
        options.rows = {50, 500};
        options.unique = 37;
        options.steps = 4;
        const TableBench bench = bench_table(options, comm);
        ASSERT_EQ(bench.results.size(), 2U);
        for (const TableBenchResult& result : bench.results) {
          EXPECT_EQ(result.bytes_on_wire, result.bytes_on_wire_formula)
              << placement << " " << ranks << " ranks";
          EXPECT_EQ(result.bytes_on_wire > 0, ranks > 1);
          EXPECT_EQ(result.bytes_to_move, 37 * 3 * 4 * 6);
        }
      });
}

}  // namespace
}  // namespace pinnerformer
