// How often every item was a positive on each day: what model.prior_days counts.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "dataloader/dataset/dataset.h"

namespace pinnerformer {

// Days of 86,400 seconds; day 0 ends with the second `origin`, the end of the training data. A
// prediction made at time T may use whole days that ended at T or before: day(T), and earlier ones.
class PopularityByDay {
 public:
  // Counts one event of a user: 1 where it is a positive and may be counted.
  using Mark = std::function<std::vector<uint8_t>(const Timeline&)>;

  // Every rank reads its share of the users. Every rank must call it, with the same arguments.
  PopularityByDay(const Dataset& dataset, const Mark& mark, int64_t origin, Communicator& comm);

  // The last day that ended at this second or before.
  [[nodiscard]] int64_t day_before(int64_t time) const;

  // log(1 + positives of the item in the `windows[w]` days up to and including days[k]):
  // float32 [days, windows, items]. `items` int64.
  [[nodiscard]] torch::Tensor log_counts(const torch::Tensor& items, std::span<const int64_t> days,
                                         std::span<const int64_t> windows) const;

  // The same of one day for each item: float32 [items, windows].
  [[nodiscard]] torch::Tensor log_counts_each(const torch::Tensor& items,
                                              std::span<const int64_t> day_of_item,
                                              std::span<const int64_t> windows) const;

 private:
  // Writes the log counts of one item on one day, `stride` floats apart.
  void write(int64_t item, int64_t day, std::span<const int64_t> windows, float* values,
             int64_t stride) const;
  // Positives of the item up to and including the day.
  [[nodiscard]] int64_t positives_until(int64_t item, int64_t day) const;

  int64_t origin_;
  // Of item i the days with positives, ascending, are day_[first_[i]] to day_[first_[i + 1] - 1];
  // sum_ is the number of positives up to and including that day.
  std::vector<int64_t> first_, day_, sum_;
};

}  // namespace pinnerformer
