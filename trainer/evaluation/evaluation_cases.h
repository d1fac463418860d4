// The cases of an evaluation: of each held-out user a history up to t, and the positives after it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/positives.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {

// One user in one window (t, t + window] (paper section 8).
struct EvaluationCase {
  std::shared_ptr<const Timeline> timeline;
  int64_t window = 0;  // number of the window, from 0
  int64_t time = 0;    // t
  int64_t length = 0;  // events with time <= t: the history is the first `length` events
  // Unique items with a positive event in the window, in order of their first one there.
  std::vector<int32_t> positives;
  std::vector<int64_t> events;  // of each positive: index of that event in the timeline
  std::vector<int32_t> seen;    // distinct items of the history, ascending
};

// The windows in which the user has at least `min_events` events up to t and one positive after it.
[[nodiscard]] std::vector<EvaluationCase> cases_of_user(
    const std::shared_ptr<const Timeline>& timeline, const PositiveRule& rule,
    const std::vector<EvaluationWindow>& windows, int64_t min_events);

// The event with `later` events behind it, and all events before it as history, if it is a positive
// and at least `min_events` precede it (split.protocol = leave_one_out: the last event is the test,
// the second-last one is for validation). At most one case, in window 0.
[[nodiscard]] std::vector<EvaluationCase> leave_one_out_case(
    const std::shared_ptr<const Timeline>& timeline, const PositiveRule& rule, int64_t min_events,
    int64_t later = 0);

// For evaluate.exclude_seen, under which no list can hold an item of the history: removes such
// positives, and the cases that have none left. Returns the number of positives removed.
int64_t remove_repeats(std::vector<EvaluationCase>& cases);

// Rows of all users held out for `part`, ascending; the same on every rank.
[[nodiscard]] std::vector<int64_t> evaluation_users(const Dataset& dataset,
                                                    const SplitOptions& options,
                                                    HeldOut part = HeldOut::kTest);

// Streams the cases of one rank, so that memory does not grow with the number of users. The
// held-out users are cut into chunks of `chunk_users`, and each rank has a contiguous share of the
// chunks. The content of a chunk does not depend on the number of ranks, and the cases of all ranks
// in rank order are those of a single rank.
class EvaluationCases {
 public:
  struct Share {
    int rank = 0;
    int size = 1;
    int64_t chunk_users = 256;
    HeldOut part = HeldOut::kTest;
    bool exclude_seen = false;  // remove_repeats()
  };

  // `users` are those of evaluation_users() for share.part. Keeps references to `dataset` and
  // `users`.
  EvaluationCases(const Dataset& dataset, const std::vector<int64_t>& users, PositiveRule rule,
                  const SplitOptions& options, const Share& share);

  // The cases of the next chunk (possibly none); nullopt after the last chunk.
  std::optional<std::vector<EvaluationCase>> next();

  // Positives that share.exclude_seen has removed so far.
  [[nodiscard]] int64_t repeats() const { return repeats_; }
  // Held-out users read so far, and all of this rank's: for a progress bar.
  [[nodiscard]] int64_t users_done() const { return static_cast<int64_t>(position_ - begin_); }
  [[nodiscard]] int64_t users_total() const { return static_cast<int64_t>(end_ - begin_); }

 private:
  const Dataset& dataset_;
  const std::vector<int64_t>& users_;
  PositiveRule rule_;
  std::vector<EvaluationWindow> windows_;
  bool leaves_one_out_;
  HeldOut part_;
  bool exclude_seen_;
  int64_t repeats_ = 0;
  int64_t min_events_;
  size_t chunk_users_;
  size_t begin_;  // of this rank's share of users_
  size_t position_;
  size_t end_;
};

}  // namespace pinnerformer
