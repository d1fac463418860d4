// Small inputs of an import.
#pragma once
#include <string>
#include <vector>

#include "dataloader/import/import.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {

// Options that import a table of this content with the columns user, item, action, surface, ts
// (milliseconds) and long (milliseconds); "-" is an unknown surface, "-1" an unknown duration. The
// dataset is DIRECTORY/out.
ImportOptions import_options(const TemporaryDirectory& directory, const std::string& content,
                             const std::string& name);

// Adds vectors as a .npy of float32 with a file of ids.
void add_npy_vectors(const TemporaryDirectory& directory, ImportOptions& options,
                     const std::vector<std::string>& ids,
                     const std::vector<std::vector<float>>& vectors);

}  // namespace pinnerformer
