// All-gather with a gradient: all-gather forward, reduce-scatter of sums backward. Without the
// backward part the loss would be right and the gradients wrong.
#pragma once
#include <ATen/core/ivalue.h>
#include <torch/types.h>

#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// A gather in progress: other work can be done until rows() waits for it.
//
// Backward overlaps in the same way. It runs in the opposite order: the reduce-scatter starts where
// rows() was called and is waited for where the gather was started. What was computed in between is
// differentiated during the reduce-scatter.
class PendingGather {
 public:
  using Exchange = c10::intrusive_ptr<torch::CustomClassHolder>;  // shared with the graph
  PendingGather(Exchange exchange, torch::Tensor token)
      : exchange_(std::move(exchange)), token_(std::move(token)) {}

  // The rows of all ranks, [sum of counts, D], in rank order, with gradient. Call it once.
  [[nodiscard]] torch::Tensor rows() const;
  // The same without gradient.
  [[nodiscard]] torch::Tensor values() const;

 private:
  Exchange exchange_;
  torch::Tensor token_;
};

// input [counts[rank], D]. `comm` must outlive backward(). Every rank must call it, and every
// rank's loss must depend on the result; otherwise backward hangs.
[[nodiscard]] PendingGather start_gather_with_grad(const torch::Tensor& input,
                                                   const std::vector<int64_t>& counts,
                                                   Communicator& comm);
[[nodiscard]] torch::Tensor gather_with_grad(const torch::Tensor& input,
                                             const std::vector<int64_t>& counts,
                                             Communicator& comm);

}  // namespace pinnerformer
