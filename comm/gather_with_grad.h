// All-gather that gradient flows through: all-gather forward, reduce-scatter of sums backward.
// Without the backward part the loss looks right and the model is worse.
#pragma once
#include <torch/types.h>

#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// input [counts[rank], D] -> [sum of counts, D], rows in rank order. `comm` must outlive backward().
// Every rank must call it, and every rank's loss must depend on the result, or backward hangs.
[[nodiscard]] torch::Tensor gather_with_grad(const torch::Tensor& input,
                                             const std::vector<int64_t>& counts,
                                             Communicator& comm);

}  // namespace pinnerformer
