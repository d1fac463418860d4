// The loss (paper section 7): softmax of each positive against one pool of negatives, corrected by
// log Q, without ever keeping a [pairs, pool] matrix.
#pragma once
#include <torch/types.h>

namespace pinnerformer {

struct SoftmaxInputs {
  torch::Tensor user;                 // float32 [P, D] unit vectors, with gradient
  torch::Tensor positive;             // float32 [P, D] unit vectors, with gradient
  torch::Tensor pool;                 // float32 [N, D] unit vectors, with gradient
  torch::Tensor inverse_temperature;  // float32 scalar, with gradient
  torch::Tensor positive_log_q;       // float32 [P]
  torch::Tensor pool_log_q;           // float32 [N]
  torch::Tensor weight;               // float32 [P]
  // Columns that are no negatives of a pair. With a mask: those it says. Without: those that hold
  // the pair's positive itself.
  torch::Tensor row;            // int64 [P] row of the mask that holds for the pair
  torch::Tensor mask;           // bool [rows, N], true: this column is no negative; or undefined
  torch::Tensor positive_item;  // int64 [P]
  torch::Tensor pool_item;      // int64 [N]
};

// sum_i weight_i * L_i with
//   l_0 = <u_i, p_i> / tau - log Q(p_i),   l_j = <u_i, n_j> / tau - log Q(n_j), masked: -inf
//   L_i = -l_0 + log( exp(l_0) + sum_j exp(l_j) )
// Walks over the pairs in chunks and computes the logits again in backward. `bf16` makes the matrix
// products bfloat16; sums stay float32. P = 0 gives a zero that still depends on all inputs.
[[nodiscard]] torch::Tensor sampled_softmax_loss(const SoftmaxInputs& inputs, bool bf16);

}  // namespace pinnerformer
