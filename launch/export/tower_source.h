// The towers as TorchScript source: the formulas of trainer/model/model.cc in evaluation mode.
#pragma once
#include <string>

#include "launch/export/tower_spec.h"

namespace pinnerformer {

// Methods of the whole tower. forward() of the user tower takes user_tower_inputs() and gives the
// vectors [B, spec.dimensions()]; that of the item tower takes item_tower_inputs() and gives
// [N, model.output].
[[nodiscard]] std::string user_tower_source(const TowerSpec& spec);
[[nodiscard]] std::string item_tower_source(const TowerSpec& spec);

// Methods of the submodules that hold the weights.
[[nodiscard]] std::string time_encoding_source();
[[nodiscard]] std::string layer_norm_source();
[[nodiscard]] std::string linear_source();
[[nodiscard]] std::string embedding_source();

}  // namespace pinnerformer
