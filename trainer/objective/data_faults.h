// What the loader of one rank meets becomes known to all of them, within the step.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "comm/communicator.h"
#include "dataloader/sampling/batch.h"

namespace pinnerformer {

// The faults of a step, equal on all ranks.
struct DataFaults {
  int64_t skipped_users = 0;  // on all ranks
  int failed_rank = -1;       // the first one that cannot read on, or -1
  int skipping_rank = -1;     // the first one that skipped users, or -1
};

// What a rank tells the others: the numbers of its entry in an exchange they all take part in.
constexpr int64_t kFaultNumbers = 2;
void write_faults(const TrainingBatch& batch, std::span<int64_t, kFaultNumbers> entry);
void add_faults(DataFaults& faults, int rank, std::span<const int64_t, kFaultNumbers> entry);

// Every rank must call it. Where a rank cannot read on, all of them throw its error: DataError,
// MissingInputError or IoError, with the rank in front. Otherwise: a line for the log where users
// were skipped, or "".
[[nodiscard]] std::string settle_faults(const DataFaults& faults, const TrainingBatch& batch,
                                        Communicator& control);

}  // namespace pinnerformer
