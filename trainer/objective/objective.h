// The objectives: which position predicts which positive. Four are the paper's (section 6),
// next_item is that of SASRec (ICDM 2018). A function of the batch and its draw keys.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "dataloader/sampling/label_window.h"
#include "trainer/options.h"

namespace pinnerformer {

// One term of the loss: position `position` of batch row `row` predicts `item`.
struct Pair {
  int64_t row = 0;
  int64_t position = 0;
  int64_t item = 0;
  double weight = 0;  // of one row they sum to 1 or to the number of its pairs: see weighting
  int64_t time = 0;   // the prediction is made at this second and knows nothing later
};

// Pairs of all rows, by row. A row without a matching positive has none.
//   next_action       newest position -> the next positive
//   sasrec            every position -> the next positive after it; the newest one weighs as much
//                     as all others together
//   all_action        newest position -> up to max_labels positives of its window
//   dense_all_action  `positions` random positions -> one random positive of the window each
//   next_item         every position -> the next positive after it, without a window
// With `weighting` = user every user has the same weight, whatever the number of its pairs (section
// 7); with pair every pair has.
// The next positive is one of the first later second than the position's; where that second has
// several, one of them is drawn, because events of one second are a set. Windows are
// (anchor, anchor + window_days], the anchor being the time of the newest input (sequence_end) or
// of the position itself (position). With window_events a window is the next so many events of the
// timeline, of any kind, after the anchor's second; the positives among them are its labels. Where
// the training data end sooner it is shorter.
[[nodiscard]] std::vector<Pair> make_pairs(const TrainingBatch& batch,
                                           const ObjectiveOptions& options);

// Of each row that has pairs the distinct items that may become in-batch columns, ascending: up to
// max_labels of the positives in the window of the newest input, drawn where there are more,
// whatever the objective; for next_item those of its pairs. Rows without pairs have none.
[[nodiscard]] std::vector<std::vector<int64_t>> pool_positives(const TrainingBatch& batch,
                                                               std::span<const Pair> pairs,
                                                               const ObjectiveOptions& options);

// The samples that the loader must deliver for this objective from data that end at `train_until`.
[[nodiscard]] WindowSpec window_spec(const ObjectiveOptions& options, int64_t max_length,
                                     int64_t train_until);

}  // namespace pinnerformer
