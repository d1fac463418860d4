// The item table over MPI equals a dense table on a single rank.
#include <gtest/gtest.h>
#include <torch/types.h>

#include "comm/mpi/mpi_communicator.h"
#include "tests/support/item_table_oracle.h"

namespace pinnerformer {
namespace {

TEST(ItemTableRanks, EqualTheDenseReference) {
  const auto comm = make_mpi_communicator(/*timeout_seconds=*/60);
  for (const char* placement : {"replicated", "row_sharded"})
    for (const char* optimizer : {"rowwise_adagrad", "lazy_adam", "adam"}) {
      const TableRun run = table_run(placement, optimizer);
      const auto expected = train_dense_table(run, initial_rows(run));
      const auto found = train_item_table(run, {comm.get(), comm.get()});
      for (const auto& [name, column] : expected)
        EXPECT_LE(relative_error(found.at(name), column), 1e-5) << placement << " " << name;
    }
}

}  // namespace
}  // namespace pinnerformer
