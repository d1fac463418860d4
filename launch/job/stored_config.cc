#include "launch/job/stored_config.h"

#include <algorithm>

#include "configs/errors.h"

namespace pinnerformer {
namespace {

bool begins_with_any(const std::string& text, const std::vector<std::string>& prefixes) {
  return std::ranges::any_of(prefixes,
                             [&](const std::string& prefix) { return text.starts_with(prefix); });
}

}  // namespace

void require_stored_config(const RunConfig& given, const RunConfig& stored,
                           const std::vector<std::string>& may_change, const std::string& what) {
  std::string fixed;
  for (const std::string& difference : config_differences(given, stored))
    if (!begins_with_any(difference, may_change)) fixed += "; " + difference;
  if (!fixed.empty())
    throw ConfigError("cannot " + what + " with another configuration ('there' is the checkpoint)" +
                      fixed + ". Give these keys their stored values, or start a run in a new " +
                      "run.directory");
}

void require_same_model(const RunConfig& given, const RunConfig& stored, const std::string& what) {
  const auto has_rows = [](const RunConfig& config) {
    return config.item.table.placement != ItemPlacement::kNone;
  };
  std::string fixed;
  for (const std::string& difference : config_differences(given, stored)) {
    const bool of_model = begins_with_any(
        difference, {"model.", "item.tower:", "item.table.dim:", "item.table.hash_buckets:"});
    const bool trained_otherwise =
        begins_with_any(difference, {"model.dropout:", "model.temperature:"});
    const bool rows =
        difference.starts_with("item.table.placement:") && has_rows(given) != has_rows(stored);
    if (rows || (of_model && !trained_otherwise)) fixed += "; " + difference;
  }
  if (!fixed.empty())
    throw ConfigError("cannot " + what + ": it is another model ('there' is the checkpoint)" +
                      fixed + ". Give these keys their stored values, or leave --init-from out");
}

}  // namespace pinnerformer
