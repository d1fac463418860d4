// The popularity prior (model.prior_days) as columns of user and item vectors, so that a maximum
// inner product search gives the order of the model.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "trainer/evaluation/retrieval_method.h"
#include "trainer/items/popularity_by_day.h"

namespace pinnerformer {

// Vectors are made at `first` or up to `days` days later.
struct PriorSpan {
  int64_t first = 0;
  int64_t days = 0;
};

// The times at which evaluation makes vectors: `delay_days` (evaluate.daily_delay_days) before its
// first window and later.
[[nodiscard]] PriorSpan prior_span(const Dataset& dataset, const SplitOptions& split,
                                   int64_t delay_days);

// One block of columns for each day of the span. An item has its log counts of that day there; a
// user has the prior's weights in the block of the vector's own day, and zeros elsewhere.
class PriorColumns {
 public:
  // `windows` is model.prior_days. Counts the positives of all users. Every rank must call it.
  PriorColumns(const Dataset& dataset, const PositiveOptions& positives, const PriorSpan& span,
               std::vector<int64_t> windows, Communicator& comm);

  [[nodiscard]] int64_t width() const;
  // The vectors of these items, [n, D], with their columns: [n, D + width()].
  [[nodiscard]] torch::Tensor append_to_items(const torch::Tensor& vectors,
                                              const torch::Tensor& items) const;
  // Likewise of users, [n, D] or [n, K, D]. `weights`, float32 [windows], is what a log count is
  // multiplied by. A time before the span counts as its first day, one after it as its last.
  [[nodiscard]] torch::Tensor append_to_users(const torch::Tensor& vectors,
                                              const std::vector<HistoryPrefix>& prefixes,
                                              const torch::Tensor& weights) const;

 private:
  PopularityByDay popularity_;
  int64_t days_;  // blocks
  std::vector<int64_t> windows_;
};

}  // namespace pinnerformer
