// Why an item is recommended, as far as vectors show it: the nearest of the user's own events, and
// the part of the score that is the popularity prior's.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace pinnerformer {

struct Reason {
  int64_t event = 0;       // the event whose item is nearest to the recommended one
  double cosine = 0;       // of the vectors of these two items
  double prior = 0;        // what the popularity prior adds to the score
  double prior_share = 0;  // |prior| / (|prior| + |rest of the score|); 0 without a prior
};

// One reason for each recommended item. user [D], or [K, D]: of these the one that scores the item
// highest counts; items [n, D], events [e, D], e >= 1: the vectors
// of the items of the user's events, oldest first; among equally near events the last one counts.
// `width` <= D is model.output: the columns behind it are the prior's.
[[nodiscard]] std::vector<Reason> reasons(const torch::Tensor& user, const torch::Tensor& items,
                                          const torch::Tensor& events, int64_t width);

}  // namespace pinnerformer
