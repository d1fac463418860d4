#include "launch/export/tower_spec.h"

#include <string_view>
#include <utility>

namespace pinnerformer {

int64_t TowerSpec::dimensions() const {
  return options.output + (prior.defined() ? prior.numel() : 0);
}

TowerSpec tower_spec(PinnerFormer& model, const ModelOptions& options, const ModelInputs& inputs,
                     EmbeddingVersion version) {
  constexpr std::string_view kPeriod = ".period_us";
  const int64_t code_width = inputs.code_rows.defined() ? options.output : 0;
  TowerSpec spec{.options = options,
                 .item_tower = inputs.tower,
                 .content_width = inputs.item_vectors.defined() ? inputs.item_vectors.size(1) : 0,
                 .id_width = inputs.id_width + code_width,
                 .code_width = code_width,
                 .actions = inputs.actions,
                 .surfaces = inputs.surfaces,
                 .topics = options.condition == Condition::kTopic ? inputs.topics : 0,
                 .weights = {},
                 .periods = {},
                 .temperature = model->temperature(),
                 .prior = {},
                 .version = std::move(version)};
  for (const auto& [name, weight] : model_state(model))
    spec.weights[name] = weight.to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true).contiguous();
  for (const auto& buffer : model->named_buffers())
    if (buffer.key().ends_with(kPeriod))
      spec.periods[buffer.key().substr(0, buffer.key().size() - kPeriod.size())] =
          buffer.value().cpu().clone();
  if (model->prior_weights().defined())
    spec.prior = model->scaled_prior_weights().to(torch::kFloat32);
  return spec;
}

std::vector<TowerInput> user_tower_inputs(const TowerSpec& spec) {
  return {{"content", false, {"S", std::to_string(spec.content_width)}},
          {"id_rows", false, {"S", std::to_string(spec.id_width)}},
          {"action", true, {"S"}},
          {"surface", true, {"S"}},
          {"time", true, {"S"}},
          {"duration", false, {"S"}},
          {"length", true, {}}};
}

std::vector<TowerInput> item_tower_inputs(const TowerSpec& spec) {
  return {{"content", false, {std::to_string(spec.content_width)}},
          {"id_rows", false, {std::to_string(spec.id_width)}}};
}

}  // namespace pinnerformer
