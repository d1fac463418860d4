// How much data a split leaves to train on and to evaluate: shown before a run starts.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "dataloader/sampling/positives.h"

namespace pinnerformer {

// Counts over the first `users` users of the dataset. Users are in the order of their hashes, so
// these are a random sample; all of them where the dataset is small.
struct SplitSummary {
  int64_t users = 0;
  int64_t dataset_users = 0;
  int64_t train_until = 0;  // last second that training sees
  int64_t held_out_users = 0;
  int64_t evaluated_users = 0;  // of these: enough events, and a positive in a window
  int64_t evaluated_positives = 0;
  int64_t validation_users = 0;
  int64_t validated_users = 0;  // of these: enough events, and a positive to validate on
  int64_t validated_positives = 0;
  int64_t training_users = 0;
  int64_t timely_users = 0;    // of these: two events or more up to `train_until`
  int64_t labelled_users = 0;  // of these: an event with a label
  int64_t positions = 0;       // events of training users up to `train_until`
  int64_t labelled_positions =
      0;  // of these: with a positive of a later second within the label window
};

// What counts as a label of training and as a positive of an evaluation.
struct CountedPositives {
  std::optional<int64_t> window_seconds;  // label window of the objective; nothing: it has none
  int64_t window_events = 0;              // above 0: the next so many events instead
  int64_t recent_seconds = 0;  // above 0: only of events so long before the end of training
  bool exclude_seen = false;   // evaluate.exclude_seen
};

// Reads events in one block. Throws DataError or IoError.
[[nodiscard]] SplitSummary summarize_split(const Dataset& dataset, const PositiveRule& rule,
                                           const SplitOptions& split,
                                           const CountedPositives& counted);

// Two lines of text; more where there are validation users, and where nothing could be evaluated.
[[nodiscard]] std::string describe_split(const SplitSummary& summary);

}  // namespace pinnerformer
