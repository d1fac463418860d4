// What the loss of one step is made of, as tensors on the device of this rank.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "trainer/items/item_lookup.h"
#include "trainer/loop/step_plan.h"
#include "trainer/objective/sampled_softmax.h"
#include "trainer/options.h"

namespace pinnerformer {

// B users of this rank, S positions each; P pairs; Q positions that have pairs, Q <= P.
struct StepInputs {
  Batch batch;
  torch::Tensor positions;  // int64 [Q], positions among the B * S that have pairs, ascending
  torch::Tensor position_of_pair;  // int64 [P], index into `positions` of each pair
  torch::Tensor item;              // int64 [P], each pair's positive
  torch::Tensor pool_share;        // int64 [n], the items this rank embeds for the pool
  torch::Tensor topic;             // int64 [P], see StepPlan
  int64_t columns = 0;             // N, of the pool over all ranks
  int64_t length = 0;              // S
  SoftmaxInputs softmax;           // all but the embeddings and the temperature

  PriorCounts prior;  // see StepPlan

  // Content vectors of `item` and of `pool_share`, [P, C] and [n, C]; undefined where the model
  // looks them up.
  torch::Tensor item_vectors, pool_vectors;

  // With an item table:
  ItemLookup lookup;
  torch::Tensor rows;  // float32 [U, E], leaf with gradient; undefined until received

  std::vector<int64_t> first_pair;      // [B + 1], first pair of every row of the batch, then P
  std::vector<int64_t> first_position;  // [B + 1], the same among `positions`

  // What rows [first, first + count) of the batch contribute. Pool and item rows are shared.
  [[nodiscard]] StepInputs part(int64_t first, int64_t count) const;

  // The item rows at these indices into `rows`: [...] -> [..., E]. Undefined without a table.
  [[nodiscard]] torch::Tensor rows_at(const torch::Tensor& index) const;
};

// Pure, but for copies to the device: one, and where there are `host_vectors` two more.
// `host_vectors`: PinnerFormer::vectors_on_host().
[[nodiscard]] StepInputs build_step_inputs(const TrainingBatch& batch, const StepPlan& plan,
                                           const NegativeOptions& negatives, torch::Device device,
                                           const torch::Tensor& host_vectors = {});

// Sets the vectors of a batch on the host, for LoaderSpec::finish_batch.
void gather_vectors(const torch::Tensor& host_vectors, torch::Device device, Batch& batch);

}  // namespace pinnerformer
