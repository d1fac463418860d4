// Second pass of the import: each partition is sorted and its users go to the dataset.
#pragma once
#include <cstdint>
#include <vector>

#include "dataloader/dataset/dataset_writer.h"
#include "dataloader/import/events.h"

namespace pinnerformer {

// Final indices of provisional numbers; items that are dropped have -1.
struct FinalNumbers {
  std::vector<int32_t> items;
  std::vector<int16_t> actions;
  std::vector<int16_t> surfaces;
};

// Events of the largest partition that is sorted within so much memory.
[[nodiscard]] int64_t largest_partition(int64_t memory_mib);

// Writes all users in the order of the format; fills in the counts of `report` that only this pass
// knows: users (all, unsorted, of one event, the longest), events (all, of unknown duration,
// without vector, by action and surface), duplicates, first and last time.
void write_users(const ImportOptions& options, const EventTables& tables,
                 const FinalNumbers& numbers, EventSpill& spill, DatasetWriter& writer,
                 ImportReport& report, const ImportProgressCallback& progress);

}  // namespace pinnerformer
