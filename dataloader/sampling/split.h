// Which users are held out and from which time on: all separation of training and evaluation data.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"

namespace pinnerformer {

// Labels of one evaluation window lie in (begin, end]; embeddings see events up to `begin`.
struct EvaluationWindow {
  int64_t begin = 0;  // seconds since 1970 UTC
  int64_t end = 0;
};

// What held-out cases are for: the figures that are reported, or choices made while training (when
// to stop, which checkpoint), which must not know the reported ones.
enum class HeldOut { kTest, kValidation };

// True where the user is evaluated. `user_hash` is Dataset::user_hash.
[[nodiscard]] bool is_evaluation_user(uint64_t user_hash, const SplitOptions& options);

// True where the user has validation cases. In windows no user has both kinds of cases; under
// leave_one_out they are different events.
[[nodiscard]] bool is_validation_user(uint64_t user_hash, const SplitOptions& options);

// is_evaluation_user() or is_validation_user().
[[nodiscard]] bool is_held_out_user(uint64_t user_hash, const SplitOptions& options, HeldOut part);

// True where the user is trained on: not held out, or under leave_one_out, which holds out the end
// of every timeline.
[[nodiscard]] bool is_training_user(uint64_t user_hash, const SplitOptions& options);

[[nodiscard]] bool leaves_one_out(const SplitOptions& options);

// Number of final events of every timeline that training never sees: split.leave_out under
// leave_one_out, the test event and, as usual in the literature, one for validation.
[[nodiscard]] int64_t left_out_events(const SplitOptions& options);

// Users with fewer events are not trained on: there is no input and label.
[[nodiscard]] int64_t least_training_events(const SplitOptions& options);

// The end of the last evaluation window: split.end, or `last_time` where that is empty. Throws
// DataError where split.end is no time.
[[nodiscard]] int64_t split_end(int64_t last_time, const SplitOptions& options);

// The last second that training may see: split_end() - windows * window_days, or split_end() with
// no windows and under leave_one_out. Throws DataError where it lies outside the data or the
// options make no sense.
[[nodiscard]] int64_t evaluation_start(int64_t first_time, int64_t last_time,
                                       const SplitOptions& options);
[[nodiscard]] inline int64_t evaluation_start(const Dataset& dataset, const SplitOptions& options) {
  return evaluation_start(dataset.first_time(), dataset.last_time(), options);
}

// The last second that training of this dataset sees; split_end() where no user is held out.
[[nodiscard]] int64_t training_end(const Dataset& dataset, const SplitOptions& options);

// The events of a timeline that training sees.
struct TrainingPart {
  int64_t train_until = 0;  // seconds; later events are withheld
  int64_t leave_out = 0;    // number of final events withheld

  // How many, from the first on, of the events at these ascending seconds.
  [[nodiscard]] int64_t events(std::span<const int64_t> times) const;
};

// training_end() and left_out_events().
[[nodiscard]] TrainingPart training_part(const Dataset& dataset, const SplitOptions& options);

// The windows in order of time; the last one ends at split_end().
[[nodiscard]] std::vector<EvaluationWindow> evaluation_windows(int64_t start,
                                                               const SplitOptions& options);

}  // namespace pinnerformer
