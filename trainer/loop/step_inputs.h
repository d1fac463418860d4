// What the loss of one step is made of, as tensors on the device of this rank.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "trainer/items/item_lookup.h"
#include "trainer/loop/trainer.h"
#include "trainer/objective/negative_sampler.h"
#include "trainer/objective/objective.h"
#include "trainer/objective/sampled_softmax.h"

namespace pinnerformer {

struct Trainer::StepInputs {
  torch::Tensor places;   // int64 [N], positions among the B * S that have pairs, ascending
  torch::Tensor place;    // int64 [P], which of these each pair's is
  torch::Tensor item;     // int64 [P] of each pair's positive
  torch::Tensor pool;     // int64 [n], this rank's columns
  int64_t columns = 0;    // of all ranks
  int64_t length = 0;     // S
  SoftmaxInputs softmax;  // all but the embeddings and the temperature

  // With a table:
  ItemLookup lookup;
  torch::Tensor rows;  // float32 [U, E], leaf with gradient

  std::vector<int64_t> first_pair;   // [B + 1] of every row of the batch, then P
  std::vector<int64_t> first_place;  // the same among `places`

  // What `count` rows of the batch from `first` on contribute; pool and learned rows are shared.
  [[nodiscard]] StepInputs part(int64_t first, int64_t count) const;

  // The learned rows at these indices into `rows`, [..., E]; undefined without a table.
  [[nodiscard]] torch::Tensor rows_at(const torch::Tensor& at) const;
};

}  // namespace pinnerformer
