#include "dataloader/sampling/shuffle_buffer.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace pinnerformer {
namespace {

void sort_by_length(std::vector<Sample>& samples) {
  std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    return std::tuple(a.inputs.size(), a.draw_key, a.inputs.user) <
           std::tuple(b.inputs.size(), b.draw_key, b.inputs.user);
  });
}

}  // namespace

ShuffleBuffer::ShuffleBuffer(const UserSet& users, const BlockOrder& order, const BufferPlan& plan,
                             int64_t epoch, int rank, int world)
    : users_(users), plan_(plan), epoch_(epoch), rank_(rank), world_(world) {
  const Slice mine = plan_.rank_lanes(rank, world);
  for (int64_t lane = mine.first; lane < mine.end(); ++lane) {
    for (const Slice& run : order.runs(plan_.lane_places(lane)))
      reads_.push_back({lanes_.size(), run});
    const int64_t first_slot = plan_.lane_slots(lane, 0).first;
    const Slice slots = rank_slots(0);
    lanes_.push_back({lane, slots.first <= first_slot && first_slot < slots.end(), {}});
  }
}

void ShuffleBuffer::read_up_to(double share, SampleReader& reader, SkippedUsers& skipped) {
  const auto wanted = static_cast<size_t>(std::ceil(share * static_cast<double>(reads_.size())));
  if (reads_done_ == reads_.size()) return;
  for (; reads_done_ < wanted; ++reads_done_) {
    const Read& read = reads_[reads_done_];
    Lane& lane = lanes_[read.lane];
    SkippedUsers ignored;
    reader.read(users_.slice(read.users.first, read.users.count), epoch_, lane.samples,
                lane.is_ours ? skipped : ignored);
  }
  if (reads_done_ == reads_.size())
    for (Lane& lane : lanes_) sort_by_length(lane.samples);
}

Slice ShuffleBuffer::rank_slots(int64_t batch) const {
  return rank_slice(plan_.batch_users(batch), rank_, world_);
}

TrainingBatch ShuffleBuffer::empty(int64_t turn) const {
  const int64_t number = plan_.order()[static_cast<size_t>(turn)];
  TrainingBatch batch;
  batch.slots = rank_slots(number).count;
  batch.global_slots = plan_.batch_users(number);
  batch.inputs = placeholder_batch();
  batch.user.push_back(0);
  batch.slot.push_back(0);
  batch.labels.emplace_back();
  return batch;
}

TrainingBatch ShuffleBuffer::take(int64_t turn) {
  TORCH_CHECK(reads_done_ == reads_.size(), "a buffer must be whole before batches are taken");
  const int64_t number = plan_.order()[static_cast<size_t>(turn)];
  const Slice mine = rank_slots(number);
  TrainingBatch batch;
  std::vector<Sample> samples;
  for (Lane& lane : lanes_) {
    const Slice chosen = plan_.lane_samples(lane.number, number, std::ssize(lane.samples));
    int64_t slot = plan_.lane_slots(lane.number, number).first - mine.first;
    for (int64_t i = chosen.first; i < chosen.end(); ++i, ++slot) {
      if (slot < 0 || slot >= mine.count) continue;  // of another rank
      samples.push_back(std::move(lane.samples[static_cast<size_t>(i)]));
      batch.slot.push_back(slot);
    }
  }
  if (samples.empty()) return empty(turn);
  std::vector<BatchRow> rows;
  for (Sample& sample : samples) {
    rows.push_back({&sample.inputs, 0, sample.inputs.size(), sample.draw_key});
    batch.user.push_back(sample.inputs.user);
    batch.labels.push_back(std::move(sample.labels));
  }
  batch.slots = mine.count;
  batch.global_slots = plan_.batch_users(number);
  batch.inputs = make_batch(rows);
  return batch;
}

}  // namespace pinnerformer
