#include "dataloader/sampling/split_summary.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <unordered_set>
#include <utility>
#include <vector>

#include "dataloader/base/time_text.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {
namespace {

constexpr int64_t kMostUsers = 4096;
constexpr int64_t kMostEvents = int64_t{1} << 20;  // bounds the memory
constexpr int64_t kFewLabelled = 20;  // a warning where fewer than one in 20 users has a label

int64_t sampled_users(const Dataset& dataset) {
  int64_t users = 0;
  for (int64_t events = 0; users < std::min(dataset.users(), kMostUsers); ++users) {
    events += dataset.timeline_length(users);
    if (events > kMostEvents) break;
  }
  return users;
}

int64_t length_until(const Timeline& timeline, int64_t time) {
  return std::upper_bound(timeline.time.begin(), timeline.time.end(), time) - timeline.time.begin();
}

class Counter {
 public:
  Counter(const Dataset& dataset, const PositiveRule& rule, const SplitOptions& split,
          const CountedPositives& counted)
      : rule_(rule), split_(split), part_(training_part(dataset, split)), counted_(counted) {
    summary_.dataset_users = dataset.users();
    summary_.train_until = part_.train_until;
    windows_ = evaluation_windows(evaluation_start(dataset, split), split);
  }

  void add(const Timeline& timeline, uint64_t user_hash) {
    const std::vector<uint8_t> marks = rule_.mark(timeline);
    ++summary_.users;
    if (is_evaluation_user(user_hash, split_)) add_evaluation(timeline, marks);
    if (is_validation_user(user_hash, split_)) add_validation(timeline, marks);
    if (timeline.size() >= least_training_events(split_) && is_training_user(user_hash, split_))
      add_training(timeline, marks);
  }

  [[nodiscard]] const SplitSummary& summary() const { return summary_; }

 private:
  void add_evaluation(const Timeline& timeline, const std::vector<uint8_t>& marks) {
    ++summary_.held_out_users;
    const int64_t positives = held_out_positives(timeline, marks, HeldOut::kTest);
    summary_.evaluated_positives += positives;
    summary_.evaluated_users += positives > 0 ? 1 : 0;
  }

  void add_validation(const Timeline& timeline, const std::vector<uint8_t>& marks) {
    ++summary_.validation_users;
    const int64_t positives = held_out_positives(timeline, marks, HeldOut::kValidation);
    summary_.validated_positives += positives;
    summary_.validated_users += positives > 0 ? 1 : 0;
  }

  [[nodiscard]] int64_t held_out_positives(const Timeline& timeline,
                                           const std::vector<uint8_t>& marks, HeldOut part) const {
    if (!leaves_one_out(split_)) return window_positives(timeline, marks);
    const int64_t event = std::ssize(marks) - (part == HeldOut::kTest ? 1 : 2);
    if (event < std::max<int64_t>(1, split_.min_events)) return 0;
    const int32_t item = timeline.item[static_cast<size_t>(event)];
    return marks[static_cast<size_t>(event)] != 0 && !seen(timeline, event).contains(item) ? 1 : 0;
  }

  // Items of the first `events` events, where they are no positives of an evaluation.
  [[nodiscard]] std::unordered_set<int32_t> seen(const Timeline& timeline, int64_t events) const {
    if (!counted_.exclude_seen) return {};
    return {timeline.item.begin(), timeline.item.begin() + events};
  }

  // An item counts once per window, as in evaluation.
  [[nodiscard]] int64_t window_positives(const Timeline& timeline,
                                         const std::vector<uint8_t>& marks) const {
    int64_t positives = 0;
    for (const EvaluationWindow& window : windows_) {
      const int64_t begin = length_until(timeline, window.begin);
      if (begin < split_.min_events) continue;
      std::unordered_set<int32_t> taken = seen(timeline, begin);
      for (int64_t i = begin; i < length_until(timeline, window.end); ++i)
        if (marks[static_cast<size_t>(i)] != 0)
          positives += taken.insert(timeline.item[static_cast<size_t>(i)]).second ? 1 : 0;
    }
    return positives;
  }

  // Whether the window of event `from`, whose second ends before event `next`, has event
  // `positive`.
  [[nodiscard]] bool reaches(const Timeline& timeline, int64_t from, int64_t next,
                             int64_t positive) const {
    if (counted_.window_events > 0) return positive - next < counted_.window_events;
    const int64_t seconds =
        timeline.time[static_cast<size_t>(positive)] - timeline.time[static_cast<size_t>(from)];
    return !counted_.window_seconds || seconds <= *counted_.window_seconds;
  }

  [[nodiscard]] bool is_recent(int64_t time) const {
    return counted_.recent_seconds == 0 || time >= part_.train_until - counted_.recent_seconds;
  }

  void add_training(const Timeline& timeline, const std::vector<uint8_t>& marks) {
    const int64_t size = part_.events(timeline.time);
    ++summary_.training_users;
    summary_.timely_users += size >= 2 ? 1 : 0;
    summary_.positions += size;
    int64_t labelled = 0;
    std::optional<int64_t> later, here;  // the earliest positive after this second, one within it
    int64_t next = size;                 // the first event after this second
    for (int64_t i = size; i-- > 0;) {
      const int64_t time = timeline.time[static_cast<size_t>(i)];
      if (i + 1 < size && timeline.time[static_cast<size_t>(i + 1)] != time) {
        next = i + 1;
        if (here) later = std::exchange(here, std::nullopt);
      }
      if (later && is_recent(time) && reaches(timeline, i, next, *later)) ++labelled;
      if (marks[static_cast<size_t>(i)] != 0) here = i;
    }
    summary_.labelled_positions += labelled;
    summary_.labelled_users += labelled > 0 ? 1 : 0;
  }

  const PositiveRule& rule_;
  const SplitOptions& split_;
  TrainingPart part_;
  CountedPositives counted_;
  std::vector<EvaluationWindow> windows_;
  SplitSummary summary_;
};

std::string percent(int64_t part, int64_t whole) {
  std::ostringstream text;
  text.precision(3);
  text << 100.0 * static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, whole))
       << " %";
  return text.str();
}

}  // namespace

SplitSummary summarize_split(const Dataset& dataset, const PositiveRule& rule,
                             const SplitOptions& split, const CountedPositives& counted) {
  Counter counter(dataset, rule, split, counted);
  const int64_t users = sampled_users(dataset);
  dataset.check_files(0, users);
  EventBlock block;
  Timeline timeline;
  if (users > 0) dataset.read(0, users, block);
  for (int64_t user = 0; user < users; ++user) {
    block.copy_to(timeline, user, block.length(user));
    dataset.check(timeline);
    counter.add(timeline, dataset.user_hash(user));
  }
  return counter.summary();
}

std::string describe_split(const SplitSummary& summary) {
  std::ostringstream text;
  text << "training: " << summary.training_users << " users, " << summary.timely_users
       << " with two events or more up to " << utc_text(summary.train_until) << "; "
       << summary.labelled_users << " users ("
       << percent(summary.labelled_users, summary.training_users) << ") and "
       << percent(summary.labelled_positions, summary.positions)
       << " of all positions have a label";
  if (summary.users < summary.dataset_users)
    text << " (of the first " << summary.users << " of " << summary.dataset_users << " users)";
  text << "\nheld out: " << summary.held_out_users << " users, " << summary.evaluated_users
       << " of them with positives to evaluate (" << summary.evaluated_positives << ")";
  if (summary.validation_users > 0)
    text << "\nvalidation: " << summary.validation_users << " users, " << summary.validated_users
         << " of them with positives (" << summary.validated_positives << ")";
  if (summary.labelled_users * kFewLabelled < summary.training_users)
    text << "\nwarning: fewer than one in 20 training users has a label, and users without one "
            "teach "
            "nothing; see split.end, objective.window_days, objective.recent_days and "
            "positives.actions";
  if (summary.held_out_users > 0 && summary.evaluated_users == 0)
    text << "\nwarning: nothing could be evaluated; see split.end, split.window_days and "
            "split.min_events, and the times in `pinnerformer data inspect`";
  return text.str();
}

}  // namespace pinnerformer
