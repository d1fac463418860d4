// The block of the paper (section 5), and the gated form of it.
#pragma once
#include <torch/nn/modules/normalization.h>

#include <string>

#include "trainer/model/encoder_block.h"
#include "trainer/model/linear.h"
#include "trainer/options.h"

namespace pinnerformer {

// PreNorm. transformer: u = v + Attention(LayerNorm(v)); v' = u + FFN(LayerNorm(u)).
// ligr: each branch is multiplied by sigmoid(W x + b) of its own input x, and the FFN is
// contract(silu(gate(x)) * expand(x)).
class TransformerBlock : public EncoderBlock {
 public:
  // `site` numbers the dropouts of this block.
  TransformerBlock(const ModelOptions& options, int64_t site);
  torch::Tensor forward(const torch::Tensor& states, const Sequences& sequences) override;
  torch::Tensor forward_at(const torch::Tensor& states, const Sequences& sequences,
                           const torch::Tensor& positions) override;

 private:
  torch::Tensor attention(const torch::Tensor& input);  // [B, S, H] -> [B, S, H]
  torch::Tensor attention_at(const torch::Tensor& input, const torch::Tensor& positions);  // [N, H]
  // queries [B, S, H], keys and values side by side [B, S, 2H] -> [B, S, H]
  torch::Tensor attend(const torch::Tensor& queries, const torch::Tensor& keys_values);
  torch::Tensor add_branches(const torch::Tensor& input, const torch::Tensor& attended,
                             const DropoutRows& rows);
  // states + branch, in training with dropout of the branch
  torch::Tensor add(const torch::Tensor& states, const torch::Tensor& branch,
                    const DropoutRows& rows, int64_t offset);
  torch::Tensor feed_forward(const torch::Tensor& input);

  int64_t heads_;
  double dropout_;
  int64_t site_;
  torch::nn::LayerNorm attention_norm_{nullptr}, ffn_norm_{nullptr};
  Linear qkv_{nullptr}, projection_{nullptr}, expand_{nullptr}, contract_{nullptr};
  // Of ligr alone.
  Linear attention_gate_{nullptr}, ffn_gate_{nullptr}, swish_{nullptr};
};

[[nodiscard]] std::string transformer_script(const ModelOptions& options);

}  // namespace pinnerformer
