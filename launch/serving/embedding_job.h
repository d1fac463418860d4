// The work of `embed`: vectors of users and items, computed on all ranks, written by the
// coordinator.
//
// Ranks compute blocks of rows in turn. A block holds the same rows on any number of ranks, so that
// the result is the same. Memory grows by one bit per user.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "dataloader/base/row_set.h"
#include "dataloader/base/slice.h"
#include "dataloader/vectors/embedding_file.h"
#include "dataloader/vectors/embedding_merge.h"
#include "launch/cli/progress.h"
#include "launch/job/session.h"
#include "launch/serving/loaded_model.h"
#include "launch/serving/user_states.h"
#include "launch/serving/vector_format.h"

namespace pinnerformer {

struct EmbeddingRequest {
  std::string out;    // file to write
  std::string merge;  // an earlier file, from which all other users are copied; "": none
  std::optional<int64_t> active_since;  // seconds: users with an event then or later; else all
  bool users = true;
  bool items = true;
  VectorFormat format = VectorFormat::kH5;   // the others hold one set, and no merged users
  ElementType type = ElementType::kFloat32;  // of the stored numbers
  bool shards = false;                       // every rank writes its share to a file of its own
  // Of models with recurrent blocks: also write the state of every user; go on from those of
  // `merge`, reading new events alone.
  bool states = false;
  bool go_on = false;
};

struct EmbeddingCounts {
  int64_t embedded_users = 0;
  int64_t users = 0;  // in the file: embedded and copied
  int64_t items = 0;
};

class EmbeddingJob {
 public:
  // `run` has its model loaded. Every rank makes one and runs it. Throws DataError on every rank
  // where users are asked for, none is active and no file is merged.
  EmbeddingJob(const EmbeddingRequest& request, LoadedModel& run, const Session& session);
  // Writes and publishes the file. Counts are right on the coordinator only. Throws DataError where
  // the file to merge is of another version or no vector file, or a vector is not finite, IoError.
  EmbeddingCounts write_file();
  // Each rank writes shard_name() of the file with its slice of the users and of the items. The
  // same number of ranks gives the same rows. No rank publishes before all have written.
  EmbeddingCounts write_shards();

 private:
  [[noreturn]] void refuse_no_users() const;
  void open_files();
  void write_shard_items(const Slice& mine);
  void write_shard_users(const Slice& mine);
  void compute_items();
  void compute_users();
  void copy_other_users(const std::function<void()>& goes_on);
  // Vectors [n, user_width_] of these users and, with states, their states behind them in each row.
  torch::Tensor vectors_of(const std::vector<Timeline>& timelines,
                           const std::vector<int64_t>& yesterdays_rows);
  void write_fresh(EmbeddingMerge& walk, const torch::Tensor& vectors);
  void write_rows(int64_t first, const torch::Tensor& vectors);
  void show(const char* what, int64_t done, int64_t total);
  [[nodiscard]] EmbeddingMerge merge() const;
  [[nodiscard]] EmbeddingFileShape user_set(const char* group, int64_t width,
                                            ElementType type) const;
  [[nodiscard]] EmbeddingFileShape item_set(const Slice& rows) const;
  [[nodiscard]] EmbeddingFileShape shard_user_set(const Slice& rows) const;

  EmbeddingRequest request_;
  LoadedModel& run_;
  Communicator& control_;
  bool coordinator_;
  int64_t width_;        // D, of an item's vector
  int64_t user_width_;   // numbers of a user's vectors, which stand one after the other
  int64_t state_width_;  // of a stored state, 0 without states
  RowSet active_;        // users to embed
  EmbeddingCounts counts_;
  std::optional<StoredStates> stored_states_;  // with go_on, on every rank
  std::optional<EmbeddingFileReader> merged_;  // these on the coordinator
  std::unique_ptr<EmbeddingWriter> writer_;    // with shards on every rank
  int64_t walked_ = 0;                         // users of the file that write_fresh() has passed
  ProgressLine progress_;
};

}  // namespace pinnerformer
