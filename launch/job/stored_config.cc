#include "launch/job/stored_config.h"

#include <algorithm>

#include "configs/errors.h"

namespace pinnerformer {

void require_stored_config(const RunConfig& given, const RunConfig& stored,
                           const std::vector<std::string>& may_change, const std::string& what) {
  std::string fixed;
  for (const std::string& difference : config_differences(given, stored)) {
    const bool free = std::ranges::any_of(
        may_change, [&](const std::string& prefix) { return difference.starts_with(prefix); });
    if (!free) fixed += "; " + difference;
  }
  if (!fixed.empty())
    throw ConfigError("cannot " + what + " with another configuration ('there' is the checkpoint)" +
                      fixed + ". Give these keys their stored values, or start a run in a new " +
                      "run.directory");
}

}  // namespace pinnerformer
