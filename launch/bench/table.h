// The item table against the machine: time and bytes of a step's lookup and update.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "trainer/options.h"

namespace pinnerformer {

struct TableBenchOptions {
  ItemTableOptions table;
  std::vector<int64_t> rows = {100'000, 10'000'000};  // sizes of the table
  int64_t unique = 46'000;  // distinct rows of a step, over all ranks, each used by one of them
  int64_t steps = 30;       // measured, after a few that are not
  std::string save_to;      // directory to save the largest table to and load it from; "": neither
};

struct TableBenchResult {
  int64_t rows = 0;
  // Of the slowest rank: sort by owner, request, receive, return gradients, update.
  double step_ms_median = 0;
  double step_ms_p95 = 0;
  // Median of steps on the rows that the smallest table's steps use, in turns with those above:
  // what a step costs for the size of its table alone. Rows drawn from all of a large table cost
  // more, because they lie in more pages of memory than the processor keeps translations for.
  double step_ms_same_rows = 0;
  // Every float of the step's rows copied once to where it is used, once as a gradient to everyone
  // who keeps the row, and once into each of their tables: for each row 3 * 4 * E bytes sharded,
  // (1 + 2 W) * 4 * E replicated.
  int64_t bytes_to_move = 0;
  double bytes_per_second = 0;       // of the median
  double copy_bytes_per_second = 0;  // median of memcpys of 64 MiB, summed over ranks
  double share_of_copy_rate = 0;     // bytes_per_second / copy_bytes_per_second
  int64_t bytes_on_wire = 0;         // received by all ranks from others in all measured steps
  int64_t bytes_on_wire_formula = 0;
};

// Saving a table as a checkpoint does, and loading it again. Memory: what the peak of a rank's
// resident memory rose by, the largest of all ranks.
struct TableSaveResult {
  int64_t bytes = 0;
  double save_seconds = 0, load_seconds = 0;
  double save_memory_mib = 0, load_memory_mib = 0;
};

struct TableBench {
  std::vector<TableBenchResult> results;
  std::optional<TableSaveResult> save;
};

// Steps and memory copies on all ranks take turns: whatever else the machine does meets both, and
// every step finds caches without anything of the table, as in a training. Every rank must call it
// and gets the same result.
[[nodiscard]] TableBench bench_table(const TableBenchOptions& options, Communicator& comm);

}  // namespace pinnerformer
