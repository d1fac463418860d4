// Evaluation users by hash of their id, evaluation windows backwards from the end of the split.
#include "dataloader/sampling/split.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "dataloader/base/errors.h"
#include "dataloader/base/time_text.h"

namespace pinnerformer {
namespace {

constexpr double kSecondsPerDay = 86400;

int64_t seconds_of(int64_t windows, double window_days) {
  return std::llround(static_cast<double>(windows) * window_days * kSecondsPerDay);
}

std::string describe(const SplitOptions& options) {
  std::ostringstream text;
  text << "split.windows = " << options.windows
       << " of split.window_days = " << options.window_days;
  if (!options.end.empty()) text << " before split.end = " << options.end;
  return text.str();
}

}  // namespace

bool is_evaluation_user(uint64_t user_hash, const SplitOptions& options) {
  return static_cast<int64_t>(user_hash % 100) < options.users_percent;
}

bool is_validation_user(uint64_t user_hash, const SplitOptions& options) {
  const int64_t first = leaves_one_out(options) ? 0 : options.users_percent;
  const auto place = static_cast<int64_t>(user_hash % 100);
  return place >= first && place < first + options.validation_percent;
}

bool is_held_out_user(uint64_t user_hash, const SplitOptions& options, HeldOut part) {
  return part == HeldOut::kTest ? is_evaluation_user(user_hash, options)
                                : is_validation_user(user_hash, options);
}

bool is_training_user(uint64_t user_hash, const SplitOptions& options) {
  return leaves_one_out(options) ||
         !(is_evaluation_user(user_hash, options) || is_validation_user(user_hash, options));
}

bool leaves_one_out(const SplitOptions& options) {
  return options.protocol == SplitProtocol::kLeaveOneOut;
}

int64_t left_out_events(const SplitOptions& options) {
  return leaves_one_out(options) ? options.leave_out : 0;
}

int64_t least_training_events(const SplitOptions& options) { return 2 + left_out_events(options); }

int64_t split_end(int64_t last_time, const SplitOptions& options) {
  if (options.end.empty()) return last_time;
  if (const std::string problem = time_problem(options.end); !problem.empty())
    throw DataError("split.end = " + problem);
  return *parse_utc(options.end);
}

int64_t evaluation_start(int64_t first_time, int64_t last_time, const SplitOptions& options) {
  const int64_t end = split_end(last_time, options);
  if (leaves_one_out(options)) return end;
  // The bound keeps the seconds far inside int64; it also refuses NaN.
  if (options.windows < 0 || !(options.window_days > 0 && options.window_days < 1e6)) {
    throw DataError(describe(options) + ": expected at least 0 windows of more than 0 days");
  }
  const int64_t start = end - seconds_of(options.windows, options.window_days);
  if (start < first_time || start > last_time) {
    std::ostringstream text;
    text << describe(options) << ": the windows start "
         << (start < first_time ? "before the data begins" : "after the data ends")
         << ". The data spans " << static_cast<double>(last_time - first_time) / kSecondsPerDay
         << " days, from " << utc_text(first_time) << " to " << utc_text(last_time) << ". Choose "
         << (start < first_time ? "fewer or shorter windows" : "an earlier split.end");
    if (start < first_time && !options.end.empty()) text << ", or a later split.end";
    throw DataError(text.str());
  }
  return start;
}

int64_t training_end(const Dataset& dataset, const SplitOptions& options) {
  return options.users_percent + options.validation_percent > 0
             ? evaluation_start(dataset, options)
             : split_end(dataset.last_time(), options);
}

int64_t TrainingPart::events(std::span<const int64_t> times) const {
  const int64_t in_time = std::ranges::upper_bound(times, train_until) - times.begin();
  return std::clamp<int64_t>(std::ssize(times) - leave_out, 0, in_time);
}

TrainingPart training_part(const Dataset& dataset, const SplitOptions& options) {
  return {.train_until = training_end(dataset, options), .leave_out = left_out_events(options)};
}

std::vector<EvaluationWindow> evaluation_windows(int64_t start, const SplitOptions& options) {
  std::vector<EvaluationWindow> windows;
  for (int64_t k = 0; k < options.windows; ++k) {
    windows.push_back({.begin = start + seconds_of(k, options.window_days),
                       .end = start + seconds_of(k + 1, options.window_days)});
  }
  return windows;
}

}  // namespace pinnerformer
