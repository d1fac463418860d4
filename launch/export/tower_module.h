// The towers as TorchScript modules, which LibTorch and PyTorch load without this project.
#pragma once
#include <torch/csrc/jit/api/module.h>

#include <string>

#include "launch/export/tower_spec.h"

namespace pinnerformer {

// Parameters have the names of model.safetensors. The modules share the memory of spec.weights.
[[nodiscard]] torch::jit::Module user_tower(const TowerSpec& spec);
[[nodiscard]] torch::jit::Module item_tower(const TowerSpec& spec);

// Writes a tower to `path`, with model_version and content_version as extra files of the archive;
// they are attributes of the module, too. Throws IoError.
void save_tower(const torch::jit::Module& tower, const std::string& path);
// Throws DataError where the file is no tower of an export, MissingInputError.
[[nodiscard]] torch::jit::Module load_tower(const std::string& path);
[[nodiscard]] EmbeddingVersion version_of(const torch::jit::Module& tower);

}  // namespace pinnerformer
