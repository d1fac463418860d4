#include "launch/commands/data_shape.h"

#include <algorithm>

#include "dataloader/sampling/split.h"
#include "launch/plan/figures.h"

namespace pinnerformer {
namespace {

// Of the users: see is_training_user().
double training_share(const SplitOptions& split) {
  if (leaves_one_out(split)) return 1;
  return 1 - real(split.users_percent + split.validation_percent) / 100;
}

}  // namespace

// Ends that are drawn from all events of a user leave less than a whole window before the early
// ones; the other ends are late enough.
double mean_window(double events, const RunConfig& config) {
  const double longest = real(config.model.max_length);
  if (config.objective.sample_end != SampleEnd::kUniform) return std::min(events, longest);
  return events <= longest ? (events + 1) / 2 : longest - longest * longest / (2 * events);
}

DataShape data_shape(const Dataset& dataset, const RunConfig& config) {
  DataShape data;
  data.users = real(dataset.users()) * training_share(config.split);
  data.items = real(dataset.items());
  data.content_width = real(dataset.vector_width());
  data.events_per_user = real(dataset.events()) / std::max(1.0, real(dataset.users()));
  data.actions = std::ssize(dataset.actions());
  data.surfaces = std::ssize(dataset.surfaces());
  data.topics = std::ssize(dataset.topic_names());
  if (dataset.semantic_ids().defined()) {
    data.code_levels = real(dataset.semantic_ids().levels());
    data.codes = real(dataset.semantic_ids().rows());
  }
  data.window = mean_window(data.events_per_user, config);
  return data;
}

}  // namespace pinnerformer
