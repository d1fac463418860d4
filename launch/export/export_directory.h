// An export directory (docs/export_format.md): the files from which a serving system loads a model
// without this program.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "launch/export/export_json.h"
#include "launch/export/tower_spec.h"
#include "launch/serving/loaded_model.h"

namespace pinnerformer {

struct ExportRequest {
  std::string out;         // directory to publish
  bool overwrite = false;  // replace an export that is there already
};

// Throws DataError where the export could not be published.
void require_free_target(const ExportRequest& request);

// Writes the directory under a temporary name and publishes it: a reader sees no export or a whole
// one. `run` has its model loaded. `evaluation` (read_evaluation()) goes into the model card; null:
// none. Throws DataError where something else is in the way, or a vector is not finite; IoError.
void write_export(const ExportRequest& request, LoadedModel& run, const TowerSpec& spec,
                  const nlohmann::json& evaluation);

// What is wrong with the export in `directory` as DataError: files that are missing, damaged or of
// another export than export.json, towers that do not make the vectors of items.h5. Throws
// MissingInputError where there is no export.json.
ExportManifest verify_export(const std::string& directory);

}  // namespace pinnerformer
