// Contradictions between values that are each fine alone.
#pragma once
#include <functional>
#include <string>

#include "configs/run_config.h"

namespace pinnerformer {

// How a message shows a key: "model.heads = 5 (configs/a.yaml:3)".
using ShowKey = std::function<std::string(const std::string& key)>;

// Throws ConfigError naming the keys and their values.
void check_contradictions(const RunConfig& config, const ShowKey& show);

}  // namespace pinnerformer
