// A block of LRURec (Yue et al., "Linear Recurrent Units for Sequential Recommendation", WSDM
// 2024): the past of a user is a state of constant size.
#pragma once
#include <torch/nn/modules/normalization.h>

#include <string>

#include "trainer/model/encoder_block.h"
#include "trainer/model/linear.h"
#include "trainer/options.h"

namespace pinnerformer {

// h_s = w * h_{s-1} + c * (B LayerNorm(v)_s), with H complex numbers in h, |w| < 1 and c a learned
// scale; u = v + Re(C h); u' = u + FFN(LayerNorm(u)), FFN(x) = contract(silu(swish(x)) *
// expand(x)) with as many weights as the transformer's. Re(C h) is a real matrix times the real
// and imaginary parts side by side. PreNorm, unlike LRURec, as the other blocks have it.
class LruBlock : public RecurrentBlock {
 public:
  // `site` numbers the dropouts of the two branches.
  LruBlock(const ModelOptions& options, int64_t site);
  torch::Tensor forward(const torch::Tensor& states, const Sequences& sequences) override;
  torch::Tensor forward_at(const torch::Tensor& states, const Sequences& sequences,
                           const torch::Tensor& positions) override;
  [[nodiscard]] int64_t state_width() const override { return 2 * log_decay_.size(0); }
  torch::Tensor go_on(const torch::Tensor& states, const Sequences& sequences,
                      torch::Tensor& state) override;

 private:
  void register_recurrence(int64_t channels);
  // h at every position, float32 [B, S, 2H].
  torch::Tensor recurrence(const torch::Tensor& states, const torch::Tensor& before);
  torch::Tensor add_branches(const torch::Tensor& states, const torch::Tensor& memory,
                             const DropoutRows& rows);
  torch::Tensor drop(const torch::Tensor& branch, const DropoutRows& rows, int64_t offset);

  double dropout_;
  int64_t site_;
  torch::nn::LayerNorm input_norm_{nullptr}, ffn_norm_{nullptr};
  Linear write_{nullptr}, read_{nullptr};  // B and C
  Linear swish_{nullptr}, expand_{nullptr}, contract_{nullptr};
  // w = exp(-exp(log_decay) + i exp(log_angle)), c = exp(log_scale), all [H].
  torch::Tensor log_decay_, log_angle_, log_scale_;
};

[[nodiscard]] std::string lru_script(const ModelOptions& options);

}  // namespace pinnerformer
