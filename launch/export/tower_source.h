// The towers as TorchScript source: the formulas of trainer/model/model.cc in evaluation mode.
#pragma once
#include <string>

#include "launch/export/tower_spec.h"

namespace pinnerformer {

// Methods of the whole tower. forward() of the user tower takes user_tower_inputs() and gives the
// vectors [B, spec.dimensions()], or [B, K, spec.dimensions()] with model.user_vectors = K above 1;
// that of the item tower takes item_tower_inputs() and gives [N, model.output]. Two
// more methods of the user tower take the same inputs and more:
//   for_topic(..., topic)              with model.condition=topic: int64 [B] of the items wanted,
//   -1: any go_on(..., state, state_time)      of models that keep a state:
//   PinnerFormerImpl::go_on(); gives
//                                      (vectors, state [B, W], time int64 [B] of the newest event)
[[nodiscard]] std::string user_tower_source(const TowerSpec& spec);
[[nodiscard]] std::string item_tower_source(const TowerSpec& spec);

// Methods of the submodules that hold the weights.
[[nodiscard]] std::string time_encoding_source();
[[nodiscard]] std::string layer_norm_source();
[[nodiscard]] std::string linear_source();
[[nodiscard]] std::string embedding_source();

}  // namespace pinnerformer
