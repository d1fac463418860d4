// What the ranks tell each other in a step: the positives of all users, and the errors of the
// loaders.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "dataloader/sampling/batch.h"
#include "trainer/objective/objective.h"

namespace pinnerformer {

// What a rank asks of all ranks before a step. They take no step where one of them asks.
struct RankRequests {
  bool stop = false;         // end the training
  bool save_failed = false;  // end it with the error of a save
  [[nodiscard]] bool any() const { return stop || save_failed; }
};

// The errors of the loaders in one step, equal on all ranks.
struct DataFaults {
  int64_t skipped_users = 0;  // on all ranks
  int failed_rank = -1;       // the first rank whose loader failed, or -1
  int skipping_rank = -1;     // the first rank that skipped users, or -1
};

// The positives of the global batch that may become in-batch columns. They are numbered through all
// ranks, users in the order of the global batch: rank r has of_rank[r] of them, and only that rank
// knows which items they are. What a rank sends and keeps does not grow with the number of ranks.
struct GlobalPositives {
  std::vector<int64_t> item;     // of this rank
  int64_t pairs = 0;             // of all users of the global batch
  int64_t users_with_pairs = 0;  // likewise; all other users contribute no item
  DataFaults faults = {};
  RankRequests requests = {};         // what any rank asks for
  std::vector<int64_t> of_rank = {};  // empty: there is no other rank
};

// `positives` are those of each row: pool_positives(). `requests` are those of this rank. One
// all-gather of five numbers. Every rank must call it.
[[nodiscard]] GlobalPositives gather_positives(const TrainingBatch& batch,
                                               std::span<const Pair> pairs,
                                               const std::vector<std::vector<int64_t>>& positives,
                                               Communicator& control, RankRequests requests = {});

// The items of `places`, ascending numbers of positives that are the same on every rank: int64
// [places], on every rank. Every rank must call it.
[[nodiscard]] torch::Tensor fetch_positives(const GlobalPositives& global,
                                            std::span<const int64_t> places, Communicator& control);

// Every rank must call it. If a loader failed, all ranks throw its error, with the rank in front:
// DataError, MissingInputError or IoError. Otherwise returns a line for the log if users were
// skipped, or "".
[[nodiscard]] std::string share_faults(const DataFaults& faults, const TrainingBatch& batch,
                                       Communicator& control);

}  // namespace pinnerformer
