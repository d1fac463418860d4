// Names and versions of an export directory (docs/export_format.md).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace pinnerformer {

inline constexpr const char* kExportFormat = "pinnerformer export";
inline constexpr int64_t kExportVersion = 1;

inline constexpr const char* kExportFile = "export.json";
inline constexpr const char* kUserTowerFile = "user_tower.pt";
inline constexpr const char* kItemTowerFile = "item_tower.pt";
inline constexpr const char* kWeightsFile = "model.safetensors";
inline constexpr const char* kModelJsonFile = "model.json";
inline constexpr const char* kPreprocessingFile = "preprocessing.json";
inline constexpr const char* kExportItemsFile = "items.h5";
inline constexpr const char* kModelCardFile = "README.md";

// All files but export.json, which lists them.
inline constexpr auto kExportFiles =
    std::to_array<std::string_view>({kUserTowerFile, kItemTowerFile, kWeightsFile, kModelJsonFile,
                                     kPreprocessingFile, kExportItemsFile, kModelCardFile});

}  // namespace pinnerformer
