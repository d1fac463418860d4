#include "launch/job/training_setup.h"

#include <cmath>

#include "configs/errors.h"
#include "dataloader/base/errors.h"
#include "dataloader/sampling/positives.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {

namespace {

void require_topics(const Dataset& dataset, const RunConfig& config) {
  if (config.model.condition != Condition::kTopic || dataset.has_topics()) return;
  throw ConfigError("model.condition = topic and data.path = " + config.data.path +
                    ": the dataset has no topics; import its items with `topic=COLUMN` in "
                    "--item-columns, or set model.condition=none");
}

void require_semantic_ids(const Dataset& dataset, const RunConfig& config) {
  if (!config.item.semantic_ids || dataset.semantic_ids().defined()) return;
  throw ConfigError("item.semantic_ids = true and data.path = " + config.data.path +
                    ": the dataset has no semantic ids; make them with `pinnerformer semantic-ids "
                    "--into DIR`, or set item.semantic_ids=false");
}

}  // namespace

TrainingData training_data(const Dataset& dataset, const RunConfig& config) {
  require_topics(dataset, config);
  require_semantic_ids(dataset, config);
  const PositiveRule rule(config.positives, dataset);
  TrainingData data;
  data.dataset = &dataset;
  data.users = training_users(dataset, config.split);
  data.positives = [rule](const Timeline& timeline) { return rule.mark(timeline); };
  data.part = training_part(dataset, config.split);
  data.options = config.data;
  data.held_out = {config.positives, config.split, config.evaluate};
  if (data.users.empty())
    throw DataError(config.data.path +
                    " has no user to train on: all have fewer than two events "
                    "or are held out (split.users_percent)");
  return data;
}

std::optional<SplitSummary> split_summary(const Dataset& dataset, const RunConfig& config) try {
  constexpr double kSecondsPerDay = 86400;
  std::optional<int64_t> window;
  if (config.objective.name != ObjectiveKind::kNextItem)
    window = std::llround(config.objective.window_days * kSecondsPerDay);
  return summarize_split(
      dataset, PositiveRule(config.positives, dataset), config.split,
      {.window_seconds = window,
       .window_events = config.objective.window_events,
       .recent_seconds = std::llround(config.objective.recent_days * kSecondsPerDay),
       .exclude_seen = config.evaluate.exclude_seen});
} catch (const DataError&) {
  return std::nullopt;
} catch (const IoError&) {
  return std::nullopt;
}

}  // namespace pinnerformer
