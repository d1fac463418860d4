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

void require_same_run(const RunConfig& given, const RunConfig& stored) {
  std::vector<std::string> may_change = {
      "run.directory", "data.path", "data.prefetch_batches", "data.on_bad_block",
      "data.verify_checksums", "data.device_vectors_mib", "train.steps", "train.log_every",
      "train.stop_after", "train.gradient_accumulation_steps", "train.on_nonfinite", "checkpoint.",
      "comm.", "metrics.", "item.table.placement", "item.table.memory",
      // Keys of `evaluate` that validation does not depend on.
      "evaluate.popularity_days", "evaluate.mean_last", "evaluate.markov_last",
      "evaluate.item_to_item_last", "evaluate.ease_l2", "evaluate.daily_delay_days",
      "evaluate.bootstrap", "evaluate.batch_users", "evaluate.frequency", "evaluate.baselines"};
  // Validations before and after the restart are compared with each other.
  if (given.validate.every_steps == 0) may_change.push_back("evaluate.");
  require_stored_config(given, stored, may_change, "go on with " + given.run.directory);
}

void require_same_model(const RunConfig& given, const RunConfig& stored, const std::string& what) {
  const auto has_rows = [](const RunConfig& config) {
    return config.item.table.placement != ItemPlacement::kNone;
  };
  std::string fixed;
  for (const std::string& difference : config_differences(given, stored)) {
    const bool of_model =
        begins_with_any(difference, {"model.", "item.tower:", "item.semantic_ids:",
                                     "item.table.dim:", "item.table.hash_buckets:"});
    const bool trained_otherwise = begins_with_any(
        difference, {"model.dropout:", "model.condition_dropout:", "model.temperature:"});
    const bool rows =
        difference.starts_with("item.table.placement:") && has_rows(given) != has_rows(stored);
    if (rows || (of_model && !trained_otherwise)) fixed += "; " + difference;
  }
  if (!fixed.empty())
    throw ConfigError("cannot " + what + ": it is another model ('there' is the checkpoint)" +
                      fixed + ". Give these keys their stored values, or leave --init-from out");
}

}  // namespace pinnerformer
