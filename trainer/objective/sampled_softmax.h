// The loss (paper section 7): softmax of each positive against one pool of negatives, corrected by
// log Q. No [pairs, pool] matrix is ever in memory.
#pragma once
#include <torch/types.h>

namespace pinnerformer {

struct SoftmaxInputs {
  torch::Tensor user;                 // float32 [P, D] or [P, K, D] unit vectors, with gradient
  torch::Tensor positive;             // float32 [P, D] unit vectors, with gradient
  torch::Tensor pool;                 // float32 [N, D] unit vectors, with gradient
  torch::Tensor inverse_temperature;  // float32 scalar, with gradient
  torch::Tensor positive_log_q;       // float32 [P]
  torch::Tensor pool_log_q;           // float32 [N]
  torch::Tensor weight;               // float32 [P]
  // Added to the logits, with gradient; all three undefined without a prior.
  torch::Tensor positive_prior;  // float32 [P]
  torch::Tensor pool_prior;      // float32 [K, N]
  torch::Tensor prior_row;       // int64 [P], row of pool_prior for each pair
  // Columns that are not negatives of a pair: with a mask, those that it marks; without one, those
  // that hold the pair's positive.
  torch::Tensor row;            // int64 [P] row of the mask for each pair
  torch::Tensor mask;           // bool [rows, N], true: not a negative; may be undefined
  torch::Tensor positive_item;  // int64 [P]
  torch::Tensor pool_item;      // int64 [N]
};

// sum_i weight_i * L_i with
//   l_0 = <u_i, p_i> / tau + prior(p_i) - log Q(p_i)
//   l_j = <u_i, n_j> / tau + prior(n_j) - log Q(n_j), masked: -inf
//   L_i = -l_0 + log( exp(l_0) + sum_j exp(l_j) )
// With K vectors u_i1 ... u_iK of a pair <u_i, x> is the largest of <u_ik, x>, for each x its own.
// Works on chunks of pairs and computes the gradients with the loss; backward, which may be called
// once, multiplies them. `bf16`: matrix products of bfloat16, sums in float32. P = 0 gives a zero
// that still depends on all inputs.
[[nodiscard]] torch::Tensor sampled_softmax_loss(const SoftmaxInputs& inputs, bool bf16);

}  // namespace pinnerformer
