// A block of HSTU (Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential
// Transducers for Generative Recommendations", ICML 2024, section 3).
#pragma once
#include <torch/nn/modules/normalization.h>

#include <string>

#include "trainer/model/encoder_block.h"
#include "trainer/model/linear.h"
#include "trainer/options.h"

namespace pinnerformer {

// U, Q, V, K = SiLU(W1 LayerNorm(x));  x' = x + W2 (LayerNorm(A V) * U), with A the pointwise
// attention of hstu_attention(), divided by model.max_length. There is no feed-forward network: U
// gates what the attention has gathered. Without model.features.time there is no bias by time.
class HstuBlock : public EncoderBlock {
 public:
  // One dropout, with the number `site`, before W2.
  HstuBlock(const ModelOptions& options, int64_t site);
  torch::Tensor forward(const torch::Tensor& states, const Sequences& sequences) override;
  torch::Tensor forward_at(const torch::Tensor& states, const Sequences& sequences,
                           const torch::Tensor& positions) override;

 private:
  // Queries and values, keys side by side -> A V, [B, S, H].
  torch::Tensor attend(const torch::Tensor& queries, const torch::Tensor& values_keys,
                       const torch::Tensor& time);
  torch::Tensor finish(const torch::Tensor& states, const torch::Tensor& mixed,
                       const torch::Tensor& gate, const DropoutRows& rows);

  int64_t heads_;
  double dropout_;
  int64_t site_;
  double divisor_;
  torch::nn::LayerNorm input_norm_{nullptr}, mixed_norm_{nullptr};
  Linear uqvk_{nullptr}, output_{nullptr};
  torch::Tensor position_bias_, time_bias_;  // [M]; [kTimeBuckets] or undefined
};

[[nodiscard]] std::string hstu_script(const ModelOptions& options);

}  // namespace pinnerformer
