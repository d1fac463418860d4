// The JSON files of an export (docs/export_format.md): what a program needs beside the towers.
#pragma once
#include <map>
#include <string>

#include "dataloader/base/durable_file.h"
#include "dataloader/dataset/dataset.h"
#include "launch/export/tower_spec.h"
#include "trainer/checkpoint/data_contract.h"

namespace pinnerformer {

// model.json: form, widths and constants of the model, with which model.safetensors can be turned
// into the model again.
[[nodiscard]] std::string model_json(const TowerSpec& spec);

// preprocessing.json: how events become the inputs of the towers.
[[nodiscard]] std::string preprocessing_json(const TowerSpec& spec, const DataContract& contract,
                                             const Dataset& dataset);

// export.json: versions, source, and the files with their sizes and checksums.
[[nodiscard]] std::string export_json(const EmbeddingVersion& version,
                                      const EmbeddingSource& source,
                                      const std::map<std::string, FileDigest>& files);

// What export.json says.
struct ExportManifest {
  EmbeddingVersion version;
  EmbeddingSource source;
  std::map<std::string, FileDigest> files;
};
// Throws MissingInputError, and DataError where the file is not what export_json() writes.
[[nodiscard]] ExportManifest read_export_json(const std::string& path);

}  // namespace pinnerformer
