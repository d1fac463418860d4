// What a new training takes from a checkpoint of another one: weights, and item rows by item. The
// dataset may be another, with new items, actions and surfaces.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "dataloader/dataset/dataset.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/data_contract.h"
#include "trainer/checkpoint/stored_item_table.h"
#include "trainer/items/item_table.h"

namespace pinnerformer {

// The contract of the data that the checkpoint in `path` was trained on. Throws CheckpointError
// where an older program wrote none, DataError where `dataset` has content vectors of another width
// or encoder, or semantic ids of other codebooks.
[[nodiscard]] DataContract warm_start_contract(const Checkpoint& checkpoint,
                                               const std::string& path, const Dataset& dataset);

// The weights of `checkpoint` for a model of `dataset`, whose own weights are `fresh`. Embeddings
// of actions and surfaces are found by name; a name that the checkpoint does not know keeps its
// fresh embedding. Throws CheckpointError where an embedding is missing or has another shape;
// `source` names the checkpoint.
[[nodiscard]] std::map<std::string, torch::Tensor> warm_start_weights(
    const Checkpoint& checkpoint, const DataContract& contract, const Dataset& dataset,
    const std::map<std::string, torch::Tensor>& fresh, const std::string& source);

// Copies the trained rows of `stored` into `table` by item, or by bucket; other rows keep their
// initial values. A row that is taken over counts as updated once: inference would read the unknown
// row for it otherwise. Every rank must call it; `stored` is read on rank 0, null elsewhere.
// Returns the number of rows taken over, without the unknown row; on rank 0.
int64_t warm_start_rows(const StoredItemTable* stored, ItemTable& table, Communicator& comm);

}  // namespace pinnerformer
