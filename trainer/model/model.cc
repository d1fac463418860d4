#include "trainer/model/model.h"

#include <ATen/ops/constant_pad_nd.h>
#include <torch/nn/init.h>

#include <cmath>

#include "comm/rows/row_copy.h"
#include "dataloader/base/errors.h"
#include "trainer/errors.h"
#include "trainer/model/encoder_kinds.h"
#include "trainer/model/keyed_dropout.h"
#include "trainer/model/layer_norm.h"
#include "trainer/normalise.h"
#include "trainer/stored_tensor.h"

namespace pinnerformer {
namespace {

namespace nn = torch::nn;

constexpr double kPositionStd = 0.02;  // added to states, which are small at the start
constexpr double kConditionStd = 1;    // added to normalised states, whose elements are about 1
constexpr double kFeatureStd = 1;      // as large as the elements of the other inputs
constexpr double kLeastTemperature = 0.01;
constexpr int64_t kProfileEvents = 20;

nn::Embedding make_embedding(int64_t rows, int64_t width, double std) {
  nn::Embedding embedding(rows, width);
  torch::nn::init::normal_(embedding->weight, 0, std);
  return embedding;
}

void zero(Linear& layer) {
  const torch::NoGradGuard no_grad;
  layer->weight.zero_();
  layer->bias.zero_();
}

Sequences sequences_of(const Batch& batch) { return {batch.length, batch.time, batch.draw_key}; }

// The row of each code in one table of all levels.
torch::Tensor rows_of_codes(const SemanticIds& ids) {
  if (!ids.defined())
    throw DataError(
        "item.semantic_ids = true, and the dataset has no semantic ids; make them with "
        "`pinnerformer semantic-ids --into DIR`");
  const torch::Tensor first = torch::arange(ids.levels(), torch::kInt32) * ids.codes_of_level();
  return torch::where(ids.codes >= 0, ids.codes + first, ids.codes);
}

}  // namespace

ModelInputs model_inputs(const Dataset& dataset, const ItemOptions& item) {
  return {dataset.item_vectors(),
          std::ssize(dataset.actions()),
          std::ssize(dataset.surfaces()),
          item.table.placement == ItemPlacement::kNone ? 0 : item.table.dim,
          item.tower,
          std::ssize(dataset.topic_names()),
          item.semantic_ids ? rows_of_codes(dataset.semantic_ids()) : torch::Tensor(),
          item.semantic_ids ? dataset.semantic_ids().rows() : 0};
}

void move_to_device(torch::nn::Module& module, torch::Device device) {
  const torch::NoGradGuard no_grad;
  const auto move = [&](const torch::Tensor& tensor) {
    if (tensor.device() == device) return;
    // What set_data() does, without its list of device types.
    const torch::Tensor moved = tensor.detach().to(device);
    tensor.unsafeGetTensorImpl()->shallow_copy_from(moved.getIntrusivePtr());
  };
  for (const torch::Tensor& parameter : module.parameters()) move(parameter);
  for (const torch::Tensor& buffer : module.buffers()) move(buffer);
}

torch::Tensor vectors_near(torch::Device device, const torch::Tensor& vectors, int64_t most_mib) {
  constexpr double kMiB = 1024 * 1024;
  const bool fits = vectors.defined() &&
                    static_cast<double>(vectors.nbytes()) <= static_cast<double>(most_mib) * kMiB;
  return fits ? vectors.to(device) : vectors;
}

PinnerFormerImpl::PinnerFormerImpl(const ModelOptions& options, const ModelInputs& inputs)
    : options_(options),
      item_vectors_(inputs.item_vectors),
      code_rows_(inputs.code_rows),
      content_width_(item_vectors_.defined() ? item_vectors_.size(1) : 0),
      id_width_(inputs.id_width),
      tower_(inputs.tower) {
  TORCH_CHECK(options.layers > 0, "a model has at least one layer, not ", options.layers);
  if (content_width_ + id_width_ == 0)
    throw DataError(
        "the model has no input that describes an item: the dataset has no item vectors and "
        "item.table.placement is none. Import it again with --vectors FILE, make vectors from "
        "co-occurrence with `pinnerformer vectors --into`, or learn rows with "
        "item.table.placement=replicated");
  register_inputs(inputs);
  for (int64_t layer = 0; layer < options.layers; ++layer)
    blocks_.push_back(register_module("block" + std::to_string(layer),
                                      encoder_kind(options.block).make(options, 1 + 2 * layer)));
  head_norm_ = register_module("head_norm", make_layer_norm(options.hidden));
  if (options.user_head != UserHead::kNorm) {
    head_expand_ = register_module("head_expand", Linear(options.hidden, 4 * options.hidden));
    head_output_ = register_module(
        "head_output", Linear(4 * options.hidden, options.user_vectors * options.output));
  }
  if (options.user_head == UserHead::kResidual) zero(head_output_);
  register_item_tower();
  if (options.condition == Condition::kTopic)
    condition_ =
        register_module("condition", make_embedding(inputs.topics, options.hidden, kConditionStd));
  if (options.similarity == Similarity::kCosine)
    log_inverse_temperature_ = register_parameter(
        "log_inverse_temperature", torch::tensor(-std::log(options.temperature), torch::kFloat32));
  // Together as strong as the log of one count: a softmax without the rest would be popularity.
  if (const int64_t windows = std::ssize(options.prior_days); windows > 0)
    prior_weights_ = register_parameter("prior_weights",
                                        torch::full({windows}, 1.0 / static_cast<double>(windows)));
  // Zeros, drawn last: the training begins as the one without codes does.
  if (code_rows_.defined())
    item_code_ = register_module("item_code", make_embedding(inputs.codes, options.output, 0));
}

void PinnerFormerImpl::register_inputs(const ModelInputs& inputs) {
  const FeatureOptions& features = options_.features;
  int64_t width = 0;
  if (tower_ != ItemTower::kTied) width += (features.content ? content_width_ : 0) + id_width_;
  if (features.action) {
    action_ =
        register_module("action", make_embedding(inputs.actions, options_.action_dim, kFeatureStd));
    width += options_.action_dim;
  }
  if (features.surface) {
    surface_ = register_module("surface",
                               make_embedding(inputs.surfaces, options_.surface_dim, kFeatureStd));
    width += options_.surface_dim;
  }
  if (features.duration) width += 1;
  if (features.time) {
    absolute_ = register_module("absolute_time", TimeEncoding(absolute_time_periods()));
    if (!is_recurrent(options_.block))
      age_ = register_module("age", TimeEncoding(relative_time_periods()));
    gap_ = register_module("gap", TimeEncoding(relative_time_periods()));
    width += absolute_->channels() + (age_ ? age_->channels() : 0) + gap_->channels();
  }
  if (width > 0) input_ = register_module("input", Linear(width, options_.hidden));
  if (features.position)
    position_ = register_module("position",
                                make_embedding(options_.max_length, options_.hidden, kPositionStd));
}

void PinnerFormerImpl::register_item_tower() {
  const int64_t width = content_width_ + id_width_, output = options_.output;
  if (tower_ == ItemTower::kTied) {
    if (content_width_ > 0)
      item_linear_ = register_module("item_linear", Linear(content_width_, output));
    return;
  }
  item_expand_ = register_module("item_expand", Linear(width, options_.item_hidden));
  item_output_ = register_module("item_output", Linear(options_.item_hidden, output));
  if (tower_ != ItemTower::kResidual) return;
  zero(item_output_);
  item_linear_ = register_module("item_linear", Linear(width, output));
  const torch::NoGradGuard no_grad;
  torch::nn::init::orthogonal_(item_linear_->weight);  // keeps the angles between items
  item_linear_->bias.zero_();
}

torch::Tensor PinnerFormerImpl::vectors_on_host() const {
  const bool apart = item_vectors_.defined() && item_vectors_.is_cpu() && !device().is_cpu();
  return apart ? item_vectors_ : torch::Tensor();
}

bool PinnerFormerImpl::reads_vectors_of_batch() const {
  return content_width_ > 0 && (tower_ == ItemTower::kTied || options_.features.content ||
                                options_.user_head == UserHead::kResidual);
}

torch::Tensor PinnerFormerImpl::look_up_vectors(const torch::Tensor& items) {
  const torch::Tensor wanted = items.flatten().to(item_vectors_.device());
  if (!item_vectors_.is_cpu()) return item_vectors_.index_select(0, wanted);
  return gather_rows(item_vectors_, wanted).to(items.device());
}

// Vectors of norm sqrt(C), so that elements are about 1, as the other inputs are. An item without a
// vector stays zero.
torch::Tensor PinnerFormerImpl::content(const torch::Tensor& items, const torch::Tensor& vectors) {
  const torch::Tensor rows = vectors.defined() ? vectors : look_up_vectors(items);
  std::vector<int64_t> shape = items.sizes().vec();
  shape.push_back(content_width_);
  return (normalised_rows(rows) * std::sqrt(static_cast<double>(content_width_))).view(shape);
}

void PinnerFormerImpl::add_time_features(const Batch& batch, const torch::Tensor& time_before,
                                         std::vector<torch::Tensor>& parts) {
  const torch::Tensor valid =
      torch::arange(batch.time.size(1), batch.time.device()) < batch.length.unsqueeze(1);  // [B, S]
  const torch::Tensor newest = batch.time.gather(1, batch.length.unsqueeze(1) - 1);        // [B, 1]
  const torch::Tensor gap = torch::diff(batch.time, 1, 1, /*prepend=*/time_before) * valid;
  parts.push_back(absolute_(batch.time));
  if (age_) parts.push_back(age_((newest - batch.time) * valid));
  parts.push_back(gap_(gap));
}

torch::Tensor PinnerFormerImpl::input_features(const Batch& batch, const torch::Tensor& id_rows,
                                               const torch::Tensor& time_before) {
  std::vector<torch::Tensor> parts;
  if (tower_ != ItemTower::kTied) {
    if (options_.features.content && content_width_ > 0)
      parts.push_back(content(batch.item, batch.vectors));
    if (id_width_ > 0) parts.push_back(id_rows);
  }
  if (action_) parts.push_back(action_(batch.action));
  if (surface_) parts.push_back(surface_(batch.surface));
  if (options_.features.duration)  // an unknown duration reads as none
    parts.push_back(torch::log1p(batch.duration.nan_to_num(0.0).clamp_min(0)).unsqueeze(-1));
  if (options_.features.time) add_time_features(batch, time_before, parts);
  return torch::cat(parts, -1);
}

torch::Tensor PinnerFormerImpl::input_states(const Batch& batch, const torch::Tensor& id_rows,
                                             const torch::Tensor& time_before) {
  torch::Tensor states;
  if (input_) states = input_(input_features(batch, id_rows, time_before));
  if (tower_ == ItemTower::kTied) {
    const torch::Tensor items = tied_embedding(batch.item, id_rows, batch.vectors);
    states = states.defined() ? states + items : items;
  }
  if (!position_) return states;
  // Numbered from the newest action; padding reads row 0 and is never looked at.
  const torch::Tensor index = torch::arange(batch.item.size(1), batch.item.device());
  return states + position_((batch.length.unsqueeze(1) - 1 - index).clamp_min(0));
}

torch::Tensor PinnerFormerImpl::states_before_last(const Batch& batch,
                                                   const torch::Tensor& id_rows) {
  torch::Tensor states = input_states(batch, id_rows, batch.time.narrow(1, 0, 1));
  if (is_training()) states = keyed_dropout(states, batch.draw_key, 0, options_.dropout);
  for (size_t i = 0; i + 1 < blocks_.size(); ++i)
    states = blocks_[i]->forward(states, sequences_of(batch));
  return states;
}

torch::Tensor PinnerFormerImpl::hidden(const Batch& batch, const torch::Tensor& id_rows) {
  return blocks_.back()->forward(states_before_last(batch, id_rows), sequences_of(batch));
}

torch::Tensor PinnerFormerImpl::hidden_at(const torch::Tensor& positions, const Batch& batch,
                                          const torch::Tensor& id_rows) {
  return blocks_.back()->forward_at(states_before_last(batch, id_rows), sequences_of(batch),
                                    positions);
}

torch::Tensor PinnerFormerImpl::scaled(const torch::Tensor& vectors) {
  return options_.similarity == Similarity::kCosine ? normalised_rows(vectors)
                                                    : vectors.to(torch::kFloat32);
}

torch::Tensor PinnerFormerImpl::user_head(const torch::Tensor& hidden, const torch::Tensor& profile,
                                          const torch::Tensor& topic) {
  torch::Tensor state = head_norm_(hidden);
  if (condition_ && topic.defined())
    state = state + condition_(topic.clamp_min(0)) * (topic >= 0).unsqueeze(1);
  if (!head_output_) return scaled(state);
  const torch::Tensor output = head_output_(torch::gelu(head_expand_(state)));
  if (options_.user_vectors > 1)
    return scaled(output.view({-1, options_.user_vectors, options_.output}));
  return scaled(profile.defined() ? profile + output : output);
}

torch::Tensor PinnerFormerImpl::profile_at(const torch::Tensor& positions, const Batch& batch,
                                           const torch::Tensor& id_rows) {
  if (options_.user_head != UserHead::kResidual) return {};
  const int64_t users = batch.item.size(0), length = batch.item.size(1);
  const torch::Tensor rows = id_rows.defined() ? id_rows.flatten(0, 1) : id_rows;
  const torch::Tensor vectors =
      batch.vectors.defined() ? batch.vectors.flatten(0, 1) : batch.vectors;
  const torch::Tensor embeddings =
      item_embedding(batch.item.flatten(), rows, vectors).view({users, length, options_.output});
  const torch::Tensor sums = torch::constant_pad_nd(embeddings.cumsum(1), {0, 0, 1, 0});
  const torch::Tensor end = torch::arange(1, length + 1, positions.device());
  const torch::Tensor begin = (end - kProfileEvents).clamp_min(0);
  const torch::Tensor means =
      (sums.index_select(1, end) - sums.index_select(1, begin)) / (end - begin).unsqueeze(1);
  return scaled(means.flatten(0, 1).index_select(0, positions));
}

torch::Tensor PinnerFormerImpl::user_embedding(const Batch& batch, const torch::Tensor& id_rows,
                                               const torch::Tensor& topic) {
  const torch::Tensor rows = torch::arange(batch.users(), batch.length.device());
  const torch::Tensor newest = rows * batch.item.size(1) + batch.length - 1;
  return user_head(hidden_at(newest, batch, id_rows), profile_at(newest, batch, id_rows), topic);
}

int64_t PinnerFormerImpl::state_width() const {
  int64_t width = 0;
  for (const auto& block : blocks_)
    if (const auto* recurrent = dynamic_cast<const RecurrentBlock*>(block.get()))
      width += recurrent->state_width();
  return width;
}

torch::Tensor PinnerFormerImpl::go_on(const Batch& batch, UserStates& states,
                                      const torch::Tensor& id_rows) {
  TORCH_CHECK(is_recurrent(options_.block) && options_.user_head != UserHead::kResidual,
              "this form of the model keeps no state");
  const torch::Tensor first = batch.time.narrow(1, 0, 1), before = states.time.unsqueeze(1);
  torch::Tensor hidden = input_states(batch, id_rows, torch::where(before >= 0, before, first));
  std::vector<torch::Tensor> memories;
  int64_t place = 0;
  for (const auto& block : blocks_) {
    auto& recurrent = dynamic_cast<RecurrentBlock&>(*block);
    torch::Tensor memory = states.memory.narrow(1, place, recurrent.state_width());
    hidden = recurrent.go_on(hidden, sequences_of(batch), memory);
    memories.push_back(memory);
    place += recurrent.state_width();
  }
  const torch::Tensor newest = batch.length.unsqueeze(1) - 1;
  states = {torch::cat(memories, 1), batch.time.gather(1, newest).squeeze(1)};
  const torch::Tensor at = newest.unsqueeze(2).expand({-1, -1, hidden.size(2)});
  return user_head(hidden.gather(1, at).squeeze(1));
}

torch::Tensor PinnerFormerImpl::item_inputs(const torch::Tensor& items,
                                            const torch::Tensor& id_rows,
                                            const torch::Tensor& vectors) {
  std::vector<torch::Tensor> parts;
  if (content_width_ > 0) parts.push_back(content(items, vectors));
  if (id_width_ > 0) parts.push_back(id_rows);
  return torch::cat(parts, -1);
}

torch::Tensor PinnerFormerImpl::tied_embedding(const torch::Tensor& items,
                                               const torch::Tensor& id_rows,
                                               const torch::Tensor& vectors) {
  return with_codes(item_linear_ ? id_rows + item_linear_(content(items, vectors)) : id_rows,
                    items);
}

torch::Tensor PinnerFormerImpl::code_sums(const torch::Tensor& items) {
  const torch::Tensor wanted = items.flatten().to(code_rows_.device());
  const torch::Tensor rows = code_rows_.index_select(0, wanted).to(items.device());  // [n, L]
  const torch::Tensor values = item_code_(rows.clamp_min(0)) * (rows >= 0).unsqueeze(2);
  std::vector<int64_t> shape = items.sizes().vec();
  shape.push_back(options_.output);
  return values.sum(1).view(shape);
}

torch::Tensor PinnerFormerImpl::with_codes(const torch::Tensor& embedding,
                                           const torch::Tensor& items) {
  return item_code_ ? embedding + code_sums(items) : embedding;
}

torch::Tensor PinnerFormerImpl::item_embedding(const torch::Tensor& items,
                                               const torch::Tensor& id_rows,
                                               const torch::Tensor& vectors) {
  if (tower_ == ItemTower::kTied) return scaled(tied_embedding(items, id_rows, vectors));
  const torch::Tensor inputs = item_inputs(items, id_rows, vectors);
  const torch::Tensor deep = item_output_(torch::gelu(item_expand_(inputs)));
  return scaled(with_codes(item_linear_ ? item_linear_(inputs) + deep : deep, items));
}

torch::Tensor PinnerFormerImpl::inverse_temperature() {
  if (!log_inverse_temperature_.defined()) return torch::ones({}, device());
  {
    const torch::NoGradGuard no_grad;
    log_inverse_temperature_.clamp_max_(-std::log(kLeastTemperature));
  }
  return log_inverse_temperature_.exp();
}

double PinnerFormerImpl::temperature() const {
  if (!log_inverse_temperature_.defined()) return 1;
  return std::max(kLeastTemperature, std::exp(-log_inverse_temperature_.item<double>()));
}

torch::Device PinnerFormerImpl::device() const { return head_norm_->weight.device(); }

int64_t count_parameters(PinnerFormer& model) {
  int64_t sum = 0;
  for (const torch::Tensor& tensor : model->parameters()) sum += tensor.numel();
  return sum;
}

std::map<std::string, torch::Tensor> model_state(PinnerFormer& model) {
  std::map<std::string, torch::Tensor> state;
  for (const auto& entry : model->named_parameters()) state[entry.key()] = entry.value().detach();
  return state;
}

void load_model_state(PinnerFormer& model, const std::map<std::string, torch::Tensor>& state,
                      const std::string& source) {
  for (auto& [name, tensor] : model_state(model)) {
    restore_tensor(state, name, tensor, source);
    if (!tensor.isfinite().all().item<bool>())
      throw CheckpointError(source + ": weight '" + name +
                            "' holds NaN or infinity. Use an earlier checkpoint");
  }
}

}  // namespace pinnerformer
