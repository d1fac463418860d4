// The model (paper section 5): input projection, causal encoder, user head, item tower.
#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "trainer/model/encoder_block.h"
#include "trainer/model/linear.h"
#include "trainer/model/time_encoding.h"
#include "trainer/options.h"

namespace pinnerformer {

// The properties of a dataset that fix the shapes of the model.
struct ModelInputs {
  torch::Tensor item_vectors;  // float16 [I, C], frozen; undefined where there are none
  int64_t actions = 1;         // size of the vocabularies
  int64_t surfaces = 1;
  int64_t id_width = 0;  // E, width of learned item rows; 0 without them
  ItemTower tower = ItemTower::kMlp;
  int64_t topics = 0;  // of the dataset's items, for model.condition=topic
  // For item.semantic_ids: the rows of each item's codes in one table of `codes` = L * V rows,
  // int32 [I, L], -1: no code. Undefined without.
  torch::Tensor code_rows = {};
  int64_t codes = 0;
};

[[nodiscard]] ModelInputs model_inputs(const Dataset& dataset, const ItemOptions& item);
// Moves all parameters and buffers, as Module::to() does, but to devices of any type.
void move_to_device(torch::nn::Module& module, torch::Device device);
// The vectors on the device where they take at most `most_mib`, else where they are.
[[nodiscard]] torch::Tensor vectors_near(torch::Device device, const torch::Tensor& vectors,
                                         int64_t most_mib);

// The past of users as recurrent blocks keep it, between two calls of go_on().
struct UserStates {
  torch::Tensor memory;  // float32 [B, state_width()], zero before the first event
  torch::Tensor time;    // int64 [B] of the newest event that was read; -1: none
};

// An item is described by its content vector, by its row of the item table, or by both. The table
// is not part of the model (ItemTable in training, StoredItemTable in inference): the caller looks
// the rows up and passes them as `id_rows`, undefined where there is no table. Embeddings of
// actions and surfaces are small: they are ordinary dense parameters, on every rank.
class PinnerFormerImpl : public torch::nn::Module {
 public:
  // Draws the weights from LibTorch's default generator, which the caller seeds. Throws DataError
  // where items have neither vectors nor rows. Below, "unit vectors" holds for
  // model.similarity=cosine; those of `dot` have any norm.
  PinnerFormerImpl(const ModelOptions& options, const ModelInputs& inputs);

  // Encoder output at every position, [B, S, H]. Padding is on the right, so the causal mask
  // already hides it from every valid position. id_rows [B, S, E].
  torch::Tensor hidden(const Batch& batch, const torch::Tensor& id_rows = {});
  // The same at `positions` only, int64 [N] among the B * S positions: [N, H]. The last block
  // computes only these positions.
  torch::Tensor hidden_at(const torch::Tensor& positions, const Batch& batch,
                          const torch::Tensor& id_rows = {});
  // User head: hidden states [P, H] -> unit vectors [P, D], or [P, K, D] with model.user_vectors =
  // K above 1. `profile`: profile_at() of the same positions. `topic`, with model.condition=topic:
  // int64 [P] of the items that the vectors are for, -1 for any; undefined: any.
  torch::Tensor user_head(const torch::Tensor& hidden, const torch::Tensor& profile = {},
                          const torch::Tensor& topic = {});
  // What model.user_head=residual adds its output to: the mean of the item embeddings of the last
  // 20 events up to each of `positions`, [N, D], of norm 1 where those have. Undefined for other
  // heads.
  torch::Tensor profile_at(const torch::Tensor& positions, const Batch& batch,
                           const torch::Tensor& id_rows = {});
  // What user_head() gives for the newest position of every row, [B, D] or [B, K, D]: the user
  // embedding. topic [B].
  torch::Tensor user_embedding(const Batch& batch, const torch::Tensor& id_rows = {},
                               const torch::Tensor& topic = {});
  // Numbers of a user's memory; 0 where the blocks keep none (model.block other than lru).
  [[nodiscard]] int64_t state_width() const;
  // user_embedding() of the events of `states` and those of the batch, which follow them; `states`
  // move on. Only for blocks that keep a state, in evaluation mode and without
  // model.user_head=residual, which reads the last events themselves.
  torch::Tensor go_on(const Batch& batch, UserStates& states, const torch::Tensor& id_rows = {});
  // Item tower: items int64 [n] with id_rows [n, E] -> unit vectors [n, D]. `vectors` float16 [n,
  // C] are their content vectors; undefined: the model looks them up.
  torch::Tensor item_embedding(const torch::Tensor& items, const torch::Tensor& id_rows = {},
                               const torch::Tensor& vectors = {});
  // The content vectors, [I, C], where they are in host memory and the model is not. Host and
  // device then wait for each other at every look-up, unless the caller has gathered the rows
  // (Batch::vectors, item_embedding()). Else undefined.
  [[nodiscard]] torch::Tensor vectors_on_host() const;
  // Whether the user's side reads the content vectors of a batch.
  [[nodiscard]] bool reads_vectors_of_batch() const;

  // What item.semantic_ids adds to the embeddings of items before they are scaled: the sums of
  // their code rows. int64 [...] -> [..., D].
  torch::Tensor code_sums(const torch::Tensor& items);
  // 1 / temperature, a scalar with gradient. The temperature is kept >= 0.01 (section 7). With
  // model.similarity=dot the constant 1.
  torch::Tensor inverse_temperature();
  [[nodiscard]] double temperature() const;
  // b of model.prior_days, float32 [windows] with gradient: logits gain b times the log counts.
  // Undefined without a prior.
  torch::Tensor prior_weights() { return prior_weights_; }
  // b times the temperature, on the CPU: beside user vectors, whose dot product with item vectors
  // is the logit times the temperature.
  [[nodiscard]] torch::Tensor scaled_prior_weights() const {
    return prior_weights_.detach().cpu() * temperature();
  }

  [[nodiscard]] torch::Device device() const;

 private:
  void register_inputs(const ModelInputs& inputs);
  void register_item_tower();
  // [...] -> [n, C]
  torch::Tensor look_up_vectors(const torch::Tensor& items);
  // [...] -> [..., C]. `vectors` as in item_embedding().
  torch::Tensor content(const torch::Tensor& items, const torch::Tensor& vectors);
  // Content and learned row side by side, [..., C + E].
  torch::Tensor item_inputs(const torch::Tensor& items, const torch::Tensor& id_rows,
                            const torch::Tensor& vectors);
  // What the tied tower and the encoder share: the row, plus a linear map of the vector, [..., E].
  torch::Tensor tied_embedding(const torch::Tensor& items, const torch::Tensor& id_rows,
                               const torch::Tensor& vectors);
  torch::Tensor with_codes(const torch::Tensor& embedding, const torch::Tensor& items);
  torch::Tensor scaled(const torch::Tensor& vectors);  // to norm 1 where the similarity is cosine
  // `time_before` int64 [B, 1]: of the event before the first, or of the first itself.
  torch::Tensor input_features(const Batch& batch, const torch::Tensor& id_rows,
                               const torch::Tensor& time_before);  // [B, S, D_in]
  void add_time_features(const Batch& batch, const torch::Tensor& time_before,
                         std::vector<torch::Tensor>& parts);
  // What the first block reads, before dropout, [B, S, H].
  torch::Tensor input_states(const Batch& batch, const torch::Tensor& id_rows,
                             const torch::Tensor& time_before);
  // What the last block reads, [B, S, H].
  torch::Tensor states_before_last(const Batch& batch, const torch::Tensor& id_rows);

  ModelOptions options_;
  torch::Tensor item_vectors_;
  torch::Tensor code_rows_;    // undefined without item.semantic_ids
  int64_t content_width_ = 0;  // C, 0 without vectors
  int64_t id_width_ = 0;       // E, 0 without a table
  ItemTower tower_;
  torch::nn::Embedding action_{nullptr}, surface_{nullptr}, position_{nullptr};
  TimeEncoding absolute_{nullptr}, age_{nullptr}, gap_{nullptr};
  Linear input_{nullptr};
  std::vector<std::shared_ptr<EncoderBlock>> blocks_;
  torch::nn::LayerNorm head_norm_{nullptr};
  torch::nn::Embedding condition_{nullptr};  // of a topic, added to the state that the head reads
  Linear head_expand_{nullptr}, head_output_{nullptr};
  Linear item_expand_{nullptr}, item_output_{nullptr}, item_linear_{nullptr};
  torch::nn::Embedding item_code_{nullptr};  // [L * V, D]
  torch::Tensor log_inverse_temperature_;    // scalar, -log(temperature); undefined for `dot`
  torch::Tensor prior_weights_;              // [windows], or undefined
};
TORCH_MODULE(PinnerFormer);

// Elements of all weights.
[[nodiscard]] int64_t count_parameters(PinnerFormer& model);
// The weights by name, sharing the model's memory: what a checkpoint holds.
[[nodiscard]] std::map<std::string, torch::Tensor> model_state(PinnerFormer& model);
// Copies the weights of a checkpoint into the model. Throws CheckpointError where one is missing,
// has another shape or type, or holds NaN or infinity; `source` names the checkpoint.
void load_model_state(PinnerFormer& model, const std::map<std::string, torch::Tensor>& state,
                      const std::string& source);

}  // namespace pinnerformer
