// All-gather that gradient flows through: all-gather forward, reduce-scatter of sums backward.
// Without the backward part the loss looks right and the model is worse.
#pragma once
#include <torch/types.h>

#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// A gather under way: other work can be done until wait(), which must be called before the rows are
// used.
class PendingGather {
 public:
  PendingGather(torch::Tensor rows, std::unique_ptr<Work> work)
      : rows_(std::move(rows)), work_(std::move(work)) {}
  [[nodiscard]] torch::Tensor wait() const {
    work_->wait();
    return rows_;
  }

 private:
  torch::Tensor rows_;
  std::unique_ptr<Work> work_;
};

// input [counts[rank], D] -> [sum of counts, D], rows in rank order. `comm` must outlive backward().
// Every rank must call it, and every rank's loss must depend on the result, or backward hangs.
[[nodiscard]] PendingGather start_gather_with_grad(const torch::Tensor& input,
                                                   const std::vector<int64_t>& counts,
                                                   Communicator& comm);
[[nodiscard]] torch::Tensor gather_with_grad(const torch::Tensor& input,
                                             const std::vector<int64_t>& counts,
                                             Communicator& comm);

}  // namespace pinnerformer
