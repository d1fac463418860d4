// The same steps the loader takes, on rows in memory.
#include "tests/support/training_rows.h"

namespace pinnerformer {

Timeline timeline_of(const std::vector<oracle::Event>& events) {
  Timeline timeline;
  for (const oracle::Event& event : events) {
    timeline.item.push_back(static_cast<int32_t>(event.item));
    timeline.time.push_back(event.time);
    timeline.action.push_back(0);
    timeline.surface.push_back(0);
    timeline.duration.push_back(0);
  }
  return timeline;
}

std::vector<uint8_t> positives_of(const std::vector<oracle::Event>& events) {
  std::vector<uint8_t> positive;
  for (const oracle::Event& event : events) positive.push_back(event.positive ? 1 : 0);
  return positive;
}

TrainingBatch training_batch(const std::vector<TrainingRow>& rows) {
  TrainingBatch batch;
  std::vector<BatchRow> inputs;
  for (const TrainingRow& row : rows) {
    inputs.push_back({&row.timeline, row.window.first, row.window.end, row.draw_key});
    batch.user.push_back(row.user);
    batch.slot.push_back(batch.slots++);
    batch.labels.push_back(row.window.labels);
  }
  batch.global_slots = batch.slots;
  batch.inputs = make_batch(inputs);
  return batch;
}

}  // namespace pinnerformer
