// The README.md of an export: what the model is, what it was made from, how good it is.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "launch/export/tower_spec.h"
#include "launch/serving/loaded_model.h"

namespace pinnerformer {

// The object that `pinnerformer evaluate --json` wrote. Throws MissingInputError, and DataError
// where the file is no evaluation, or one of another checkpoint than that of `source`.
[[nodiscard]] nlohmann::json read_evaluation(const std::string& path,
                                             const EmbeddingSource& source);

// Markdown. `evaluation` is null where there is none.
[[nodiscard]] std::string model_card(const LoadedModel& run, const TowerSpec& spec,
                                     const nlohmann::json& evaluation);

}  // namespace pinnerformer
