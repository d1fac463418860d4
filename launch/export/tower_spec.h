// What a tower of an export is made of: the form of the model, its weights and its versions.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dataloader/vectors/embedding_file.h"
#include "trainer/model/model.h"
#include "trainer/options.h"

namespace pinnerformer {

struct TowerSpec {
  ModelOptions options;
  ItemTower item_tower = ItemTower::kMlp;
  int64_t content_width = 0;  // C, 0 without content vectors
  int64_t id_width = 0;       // of the input id_rows, 0 without: learned rows, sums of code rows
  int64_t code_width = 0;     // of these sums: D with item.semantic_ids, else 0
  int64_t actions = 1;        // size of the vocabularies
  int64_t surfaces = 1;
  int64_t topics = 0;                            // likewise, with model.condition=topic
  std::map<std::string, torch::Tensor> weights;  // model_state(), on the CPU
  std::map<std::string, torch::Tensor> periods;  // of each time encoding, int64 microseconds
  double temperature = 1;
  torch::Tensor prior;  // scaled_prior_weights(), float32 [windows]; undefined without a prior
  EmbeddingVersion version;

  // Width of the user vectors, each of them: model.output, and a column for each number of
  // model.prior_days.
  [[nodiscard]] int64_t dimensions() const;
  // E, of the learned rows, 0 without.
  [[nodiscard]] int64_t row_width() const { return id_width - code_width; }
};

// `inputs` is what the model was made with. The weights are copies.
[[nodiscard]] TowerSpec tower_spec(PinnerFormer& model, const ModelOptions& options,
                                   const ModelInputs& inputs, EmbeddingVersion version);

// An input of a tower, as serving systems declare it.
struct TowerInput {
  std::string name;
  bool integers = false;           // int64, else float32
  std::vector<std::string> shape;  // behind the batch: "S" for the events, or a number
};

// In the order of forward(). Every model has the same inputs: those that it does not read, too.
[[nodiscard]] std::vector<TowerInput> user_tower_inputs(const TowerSpec& spec);
[[nodiscard]] std::vector<TowerInput> item_tower_inputs(const TowerSpec& spec);

}  // namespace pinnerformer
