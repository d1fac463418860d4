#include "launch/plan/step_shape.h"

#include <algorithm>

#include "launch/plan/figures.h"

namespace pinnerformer {
namespace {

// Of the time encodings: a sine and a cosine for each period. Each has the logarithm beside them.
constexpr double kAbsolutePhases = 2 * 12, kRelativePhases = 2 * 32;

// Recurrent blocks read no age of an event.
double relative_encodings(const ModelOptions& model) { return is_recurrent(model.block) ? 1 : 2; }

double time_channels(const ModelOptions& model) {
  return kAbsolutePhases + 1 + relative_encodings(model) * (kRelativePhases + 1);
}

double time_phases(const ModelOptions& model) {
  return kAbsolutePhases + relative_encodings(model) * kRelativePhases;
}

double linear(double in, double out) { return in * out + out; }

double id_width(const RunConfig& config) {
  const ItemTableOptions& table = config.item.table;
  return table.placement == ItemPlacement::kNone ? 0 : real(table.dim);
}

double input_width(const RunConfig& config, const DataShape& data) {
  const ModelOptions& model = config.model;
  const FeatureOptions& features = model.features;
  double width = 0;
  if (config.item.tower != ItemTower::kTied)
    width += (features.content ? data.content_width : 0) + id_width(config);
  if (features.action) width += real(model.action_dim);
  if (features.surface) width += real(model.surface_dim);
  if (features.duration) width += 1;
  if (features.time) width += time_channels(model);
  return width;
}

double head_elements(const ModelOptions& model) {
  if (model.user_head == UserHead::kNorm) return 0;
  return 4 * real(model.hidden) * (real(model.hidden) + real(model.user_vectors * model.output));
}

double tower_elements(const RunConfig& config, const StepShape& shape, double content_width) {
  if (config.item.tower == ItemTower::kTied) return content_width * shape.output;
  const bool residual = config.item.tower == ItemTower::kResidual;
  return shape.item_hidden * (shape.item_width + shape.output) +
         (residual ? shape.item_width * shape.output : 0);
}

double tower_parameters(const RunConfig& config, const StepShape& shape, double content_width) {
  if (config.item.tower == ItemTower::kTied)
    return content_width > 0 ? linear(content_width, shape.output) : 0;
  const double deep =
      linear(shape.item_width, shape.item_hidden) + linear(shape.item_hidden, shape.output);
  const bool residual = config.item.tower == ItemTower::kResidual;
  return deep + (residual ? linear(shape.item_width, shape.output) : 0);
}

double parameters(const RunConfig& config, const DataShape& data, const StepShape& shape) {
  const ModelOptions& model = config.model;
  const FeatureOptions& features = model.features;
  double sum = shape.layers * shape.block.parameters + 2 * shape.hidden;
  if (shape.input_width > 0) sum += linear(shape.input_width, shape.hidden);
  if (features.position) sum += real(model.max_length) * shape.hidden;
  if (features.action) sum += real(data.actions * model.action_dim);
  if (features.surface) sum += real(data.surfaces * model.surface_dim);
  if (features.time) sum += time_phases(model);
  if (model.user_head != UserHead::kNorm)
    sum += linear(shape.hidden, 4 * shape.hidden) +
           linear(4 * shape.hidden, real(model.user_vectors) * shape.output);
  sum += tower_parameters(config, shape, data.content_width);
  if (model.condition == Condition::kTopic) sum += real(data.topics) * shape.hidden;
  if (model.similarity == Similarity::kCosine) sum += 1;
  if (config.item.semantic_ids) sum += data.codes * shape.output;
  return sum + real(std::ssize(model.prior_days));
}

// Positions and pairs that the objective takes of a user with a full window.
struct PerUser {
  double positions = 0, pairs = 0;
};

PerUser per_user(const ObjectiveOptions& objective, double window) {
  switch (objective.name) {
    case ObjectiveKind::kNextAction:
      return {1, 1};
    case ObjectiveKind::kAllAction:
      return {1, real(objective.max_labels)};
    case ObjectiveKind::kDenseAllAction:
      return {std::min(window, real(objective.positions)),
              std::min(window, real(objective.positions))};
    case ObjectiveKind::kSasrec:
    case ObjectiveKind::kNextItem:
      break;
  }
  return {window, window};
}

double table_rows(const RunConfig& config, const DataShape& data, double ranks) {
  const ItemTableOptions& table = config.item.table;
  if (table.placement == ItemPlacement::kNone) return 0;
  const double rows = (table.hash_buckets > 0 ? real(table.hash_buckets) : data.items) + 1;
  return table.placement == ItemPlacement::kRowSharded ? rows / ranks : rows;
}

bool in_bfloat16(Precision precision, bool gpu) {
  return precision == Precision::kBf16Always || (precision != Precision::kFp32 && gpu);
}

void set_batch(StepShape& shape, const RunConfig& config, const DataShape& data) {
  shape.global_users = std::min(real(config.train.global_batch_users), data.users);
  shape.users = shape.global_users / shape.ranks;
  shape.part_users = shape.users / real(config.train.gradient_accumulation_steps);
  shape.window = std::min(data.window, real(config.model.max_length));
  shape.events = shape.part_users * shape.window;
  const PerUser full = per_user(config.objective, shape.window);
  const double pairs = data.pairs_per_user > 0 ? data.pairs_per_user : full.pairs;
  shape.queries = shape.part_users * std::min(full.positions, pairs);
  shape.pairs = shape.part_users * pairs;
  shape.head_rows = config.model.condition == Condition::kNone ? shape.queries : shape.pairs;
  const bool reads_items =
      config.model.user_head == UserHead::kResidual || config.item.tower == ItemTower::kTied;
  shape.tower_rows = shape.pairs + (reads_items ? shape.events : 0);
  shape.pool = std::min(real(config.negatives.in_batch), shape.global_users * pairs) +
               real(config.negatives.random);
  shape.pool_share = shape.pool / shape.ranks;
  shape.table_rows = table_rows(config, data, shape.ranks);
  const double read = shape.users * shape.window + shape.users * pairs + shape.pool_share;
  shape.step_rows = shape.table_rows == 0 ? 0 : std::min(read, data.items);
}

}  // namespace

StepShape step_shape(const RunConfig& config, const DataShape& data, double ranks, bool gpu) {
  StepShape shape;
  shape.ranks = ranks;
  shape.hidden = real(config.model.hidden);
  shape.layers = real(config.model.layers);
  shape.output = real(config.model.output);
  shape.item_hidden = real(config.model.item_hidden);
  shape.user_vectors = real(config.model.user_vectors);
  shape.bf16 = in_bfloat16(config.train.precision, gpu);
  shape.input_width = input_width(config, data);
  shape.item_width = data.content_width + id_width(config);
  shape.code_levels = config.item.semantic_ids ? data.code_levels : 0;
  set_batch(shape, config, data);
  shape.block = block_cost(config.model, shape.window, gpu);
  shape.head_elements = head_elements(config.model);
  shape.tower_elements = tower_elements(config, shape, data.content_width);
  shape.parameters = parameters(config, data, shape);
  return shape;
}

}  // namespace pinnerformer
