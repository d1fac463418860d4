// A model repository for the PyTorch backend of Triton Inference Server: the towers as versions of
// the models user_tower and item_tower (docs/export_format.md, "Triton").
#pragma once
#include <cstdint>
#include <string>

#include "launch/export/tower_spec.h"

namespace pinnerformer {

// config.pbtxt of each model.
[[nodiscard]] std::string triton_user_config(const TowerSpec& spec);
[[nodiscard]] std::string triton_item_config(const TowerSpec& spec);

// Adds the next version of both towers to the repository in `directory`, which is made where it is
// missing, and returns its number. A version appears by rename, whole; none is ever replaced. A
// config.pbtxt that is there stays as it is, with what its owner changed in it. Throws DataError
// where that declares other inputs and outputs than these towers have, IoError.
int64_t add_triton_version(const std::string& directory, const TowerSpec& spec);

}  // namespace pinnerformer
