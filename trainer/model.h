// The model (paper section 5): input projection, causal transformer, user head, item tower.
#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dataloader/batch.h"
#include "trainer/options.h"
#include "trainer/time_encoding.h"

namespace pinnerformer {

// What the model must know of a dataset.
struct ModelInputs {
  torch::Tensor item_vectors;  // float16 [I, C], frozen; undefined where there are none
  int64_t actions = 1;         // size of the vocabularies
  int64_t surfaces = 1;
};

[[nodiscard]] ModelInputs model_inputs(const Dataset& dataset);

// One PreNorm block: u = v + Attention(LayerNorm(v)); v' = u + FFN(LayerNorm(u)).
class BlockImpl : public torch::nn::Module {
 public:
  // `site` numbers the dropouts of this block.
  BlockImpl(const ModelOptions& options, int64_t site);
  // [B, S, H] -> [B, S, H]; position s sees positions <= s only.
  torch::Tensor forward(const torch::Tensor& input, const torch::Tensor& draw_key);

 private:
  torch::Tensor attention(const torch::Tensor& input);  // [B, S, H] -> [B, S, H]
  torch::Tensor drop(const torch::Tensor& branch, const torch::Tensor& draw_key, int64_t offset);

  int64_t heads_;
  double dropout_;
  int64_t site_;
  torch::nn::LayerNorm attention_norm_{nullptr}, ffn_norm_{nullptr};
  torch::nn::Linear qkv_{nullptr}, projection_{nullptr}, expand_{nullptr}, contract_{nullptr};
};
TORCH_MODULE(Block);

class PinnerFormerImpl : public torch::nn::Module {
 public:
  // Weights are drawn from LibTorch's default generator: seed it before.
  PinnerFormerImpl(const ModelOptions& options, const ModelInputs& inputs);

  // Transformer output at every position, [B, S, H]. Padding lies to the right, so that the causal
  // mask alone keeps it out of every valid position.
  torch::Tensor hidden(const Batch& batch);
  // User head: hidden states [P, H] -> unit vectors [P, D].
  torch::Tensor user_head(const torch::Tensor& hidden);
  // Unit vectors of the newest position of every row, [B, D]: the user embedding.
  torch::Tensor user_embedding(const Batch& batch);
  // Item tower: item rows int64 [n] -> unit vectors [n, D].
  torch::Tensor item_embedding(const torch::Tensor& items);

  // 1 / temperature, a scalar with gradient. The temperature is kept >= 0.01 (section 7).
  torch::Tensor inverse_temperature();
  [[nodiscard]] double temperature() const;

  [[nodiscard]] torch::Device device() const;

 private:
  torch::Tensor content(const torch::Tensor& items);   // [...] -> [..., C]
  torch::Tensor input_features(const Batch& batch);    // [B, S, D_in]
  void add_time_features(const Batch& batch, std::vector<torch::Tensor>& parts);

  ModelOptions options_;
  torch::Tensor item_vectors_;
  int64_t content_width_ = 0;
  torch::nn::Embedding action_{nullptr}, surface_{nullptr}, position_{nullptr};
  TimeEncoding absolute_{nullptr}, age_{nullptr}, gap_{nullptr};
  torch::nn::Linear input_{nullptr};
  std::vector<Block> blocks_;
  torch::nn::LayerNorm head_norm_{nullptr};
  torch::nn::Linear head_expand_{nullptr}, head_output_{nullptr};
  torch::nn::Linear item_expand_{nullptr}, item_output_{nullptr};
  torch::Tensor log_inverse_temperature_;  // scalar, -log(temperature)
};
TORCH_MODULE(PinnerFormer);

// The weights by name, sharing the model's memory: what a checkpoint holds.
[[nodiscard]] std::map<std::string, torch::Tensor> model_state(PinnerFormer& model);
// Takes the weights back. Throws CheckpointError where one is missing or has another shape; `source`
// says where they come from.
void load_model_state(PinnerFormer& model, const std::map<std::string, torch::Tensor>& state,
                      const std::string& source);

}  // namespace pinnerformer
