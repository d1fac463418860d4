// One rank's samples of one shuffle buffer, see Note [Order of an epoch]: read block by block, then
// delivered batch by batch.
#pragma once
#include <cstdint>
#include <vector>

#include "dataloader/base/row_set.h"
#include "dataloader/sampling/batch.h"
#include "dataloader/sampling/epoch_plan.h"
#include "dataloader/sampling/sample_reader.h"

namespace pinnerformer {

class ShuffleBuffer {
 public:
  // Plans which blocks to read, and reads none. `users` must outlive the buffer.
  ShuffleBuffer(const UserSet& users, const BlockOrder& order, const BufferPlan& plan,
                int64_t epoch, int rank, int world);

  [[nodiscard]] const BufferPlan& plan() const { return plan_; }
  // Reads until this share of the buffer, in [0, 1], has been read, and sorts it once all is. Adds
  // to `skipped` the users that no other rank counts.
  void read_up_to(double share, SampleReader& reader, SkippedUsers& skipped);
  // The batch delivered at this turn. Once per batch, and only after the whole buffer was read.
  [[nodiscard]] TrainingBatch take(int64_t turn);
  // A batch without samples, for a rank whose reading has failed.
  [[nodiscard]] TrainingBatch empty(int64_t turn) const;

 private:
  struct Lane {
    int64_t number = 0;
    bool is_ours = false;  // this rank has its first slot; other ranks may read it too
    std::vector<Sample> samples;
  };
  struct Read {
    size_t lane = 0;
    Slice users;
  };
  [[nodiscard]] Slice rank_slots(int64_t batch) const;

  const UserSet& users_;
  BufferPlan plan_;
  int64_t epoch_;
  int rank_, world_;
  std::vector<Lane> lanes_;  // those with slots of this rank
  std::vector<Read> reads_;
  size_t reads_done_ = 0;
};

}  // namespace pinnerformer
