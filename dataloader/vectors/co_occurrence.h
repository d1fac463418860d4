// How many users each pair of items shares: what co-occurrence vectors are made of. Two passes over
// the users of a dataset; memory is a few numbers per item and a bound for the pairs.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "dataloader/vectors/pair_counter.h"

namespace pinnerformer {

struct CoOccurrenceOptions {
  // Events at or after this second take no part, nor do the last `leave_out` of every timeline.
  int64_t before = 0;
  int64_t leave_out = 0;
  PositiveOptions counted;                  // which events count; the default is all of them
  int64_t min_users = 1;                    // items of fewer users take no part
  int64_t max_items_per_user = 256;         // the most recent ones: pairs grow with the square
  int64_t memory_bytes = int64_t{1} << 30;  // for pairs waiting to be counted
  std::string temporary_prefix;             // path prefix of temporary files
  std::function<bool(int64_t user)> counts_user{};  // by row; empty: all users count
};

struct CoOccurrenceStatistics {
  int64_t users = 0;            // with at least one pair
  int64_t capped_users = 0;     // with more items than max_items_per_user
  int64_t events = 0;           // that count
  int64_t events_kept_out = 0;  // at or after `before`, or left out
  int64_t rare_items = 0;       // in counted events, but of fewer than min_users users
  int64_t pair_occurrences = 0;
};

struct CoOccurrence {
  std::vector<int32_t> items;  // rows of the items that take part, ascending
  // For each of them, the users among whose latest max_items_per_user items it is.
  std::vector<int64_t> users;
  std::vector<int64_t> degree;  // and the sum of its counts
  PairFile pairs;               // by position in `items`; the count is the number of users
  CoOccurrenceStatistics statistics;
};

struct StageProgress {
  std::string stage;    // "counting pairs"
  double fraction = 0;  // of this stage, 0 to 1
  int64_t done = 0;     // so far in this stage, in
  std::string unit;     // users, pairs or products
};
using StageCallback = std::function<void(const StageProgress&)>;  // may be empty

// A user counts once for a pair, however often both items occur. The result depends on the events
// only, not on the order of users, the parts of the dataset or the memory. Throws DataError where
// no event counts (naming the time) or an action or surface is unknown, IoError.
[[nodiscard]] CoOccurrence count_co_occurrence(const Dataset& dataset,
                                               const CoOccurrenceOptions& options,
                                               const StageCallback& progress);

}  // namespace pinnerformer
