// Histories as the input of the model.
#pragma once
#include <cstdint>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "trainer/evaluation/retrieval_method.h"

namespace pinnerformer {

// One row per prefix: its newest `max_length` events. At least one prefix, each with an event.
[[nodiscard]] Batch prefix_batch(const std::vector<HistoryPrefix>& prefixes, int64_t max_length);

}  // namespace pinnerformer
