// Training batches built by hand, without a dataset or a loader.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "dataloader/sampling/label_window.h"
#include "tests/support/objective_oracle.h"

namespace pinnerformer {

[[nodiscard]] Timeline timeline_of(const std::vector<oracle::Event>& events);
[[nodiscard]] std::vector<uint8_t> positives_of(const std::vector<oracle::Event>& events);

// One row: a user, its window and the key of its draws.
struct TrainingRow {
  int64_t user = 0;
  Timeline timeline;
  Window window;
  int64_t draw_key = 0;
};

// Rows in order; the batch is the share of a world of one rank.
[[nodiscard]] TrainingBatch training_batch(const std::vector<TrainingRow>& rows);

}  // namespace pinnerformer
