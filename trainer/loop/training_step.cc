#include "trainer/loop/training_step.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "comm/watchdog/watchdog.h"
#include "dataloader/base/slice.h"
#include "trainer/items/row_gradients.h"
#include "trainer/model/autocast.h"
#include "trainer/objective/sampled_softmax.h"
#include "trainer/optimizer/lr_schedule.h"

namespace pinnerformer {
namespace {

// In the order in which a step uses them first. The item tower embeds the pool before anything else
// runs, so backward finishes it last: its bucket has to be the last to leave, or all others would
// wait for it.
std::vector<NamedParameter> parameters_by_use(PinnerFormer& model) {
  std::vector<NamedParameter> params;
  for (const auto& entry : model->named_parameters())
    params.push_back({entry.key(), entry.value()});
  std::ranges::stable_partition(
      params, [](const NamedParameter& param) { return param.name.starts_with("item_"); });
  return params;
}

std::vector<torch::Tensor> values_of(const std::vector<NamedParameter>& params) {
  std::vector<torch::Tensor> values;
  for (const NamedParameter& param : params) values.push_back(param.value);
  return values;
}

// Note [Accumulation]
// The gathered pool has one graph, with a collective in its backward. All parts of a batch but the
// last see the pool as a leaf that collects its gradient. In the last part <pool, collected> is
// added to the loss, which passes the collected gradient on through the graph. So there is one
// reduce-scatter, and one all-reduce per bucket, however many parts there are.
class GatheredPool {
 public:
  GatheredPool(PendingGather pending, WaitTimer& comm_wait)
      : pending_(std::move(pending)), comm_wait_(comm_wait) {}

  // [N, D]. Waits for the other ranks' shares: call it as late as possible.
  torch::Tensor embeddings(bool last_part) {
    if (last_part) return pool_ = comm_wait_.time([&] { return pending_.rows(); });
    if (!collected_.defined())
      collected_ = comm_wait_.time([&] { return pending_.values(); }).requires_grad_();
    return collected_;
  }

  // Differentiates the loss of a part; after that of the last one the pool's gradient is complete.
  void backward(const torch::Tensor& loss, bool last_part) {
    if (last_part && collected_.defined())
      (loss + (pool_ * collected_.grad()).sum()).backward();
    else
      loss.backward();
  }

 private:
  PendingGather pending_;
  WaitTimer& comm_wait_;
  torch::Tensor pool_, collected_;
};

}  // namespace

// A phase of a trace lasts until this thread enters the next one.
void enter_phase(const Ranks& ranks, int64_t step, const char* phase) {
  thread_local std::optional<at::RecordFunction> traced;
  traced.emplace(at::RecordScope::USER_SCOPE);
  if (traced->isActive()) traced->before(phase);
  if (ranks.watchdog != nullptr) ranks.watchdog->enter(step + 1, phase);
}

TrainingStep::TrainingStep(const TrainerOptions& options, const CommOptions& comm,
                           const Ranks& ranks, PinnerFormer model, ItemTable* table,
                           WaitTimer& comm_wait)
    : options_(options),
      ranks_(ranks),
      model_(std::move(model)),
      table_(table),
      comm_wait_(comm_wait),
      bf16_(use_bfloat16(options.train.precision, ranks.device.type())),
      reducer_(values_of(parameters_by_use(model_)), *ranks.tensors, comm),
      optimizer_(parameters_by_use(model_), options.optimizer),
      flops_(model_, options.model) {}

StepResult TrainingStep::run(StepInputs inputs, int64_t step) {
  receive_rows(inputs);
  const torch::Tensor loss = backward(inputs, step);
  comm_wait_.time([&] { reducer_.finish(); });
  enter_phase(ranks_, step, "optimizer");
  StepResult result;
  result.flops = flops_.of({.users = inputs.batch.users(),
                            .length = inputs.length,
                            .positions = inputs.positions.numel(),
                            .pairs = inputs.item.numel(),
                            .pool_share = inputs.pool_share.numel(),
                            .columns = inputs.columns});
  result.grad_norm = update(inputs, step);
  result.loss = torch::where(result.grad_norm.isfinite(), loss, torch::zeros_like(loss));
  if (table_ != nullptr) {
    result.rows = inputs.rows.detach();
    result.row_gradients = inputs.rows.grad();
    result.row_numbers = inputs.lookup.rows;
    result.input_lookup = inputs.lookup.inputs;
  }
  return result;
}

void TrainingStep::receive_rows(StepInputs& inputs) {
  if (table_ == nullptr) return;
  inputs.rows = comm_wait_.time([&] { return table_->receive(); }).requires_grad_(true);
}

// Returns this rank's part of the loss; the parts sum to the loss of the global batch. A rank's
// share is computed in train.gradient_accumulation_steps parts.
torch::Tensor TrainingStep::backward(const StepInputs& inputs, int64_t step) {
  using Passes = GradientReducer::Passes;
  const int64_t users = inputs.batch.users();
  const auto parts =
      static_cast<int>(std::clamp(options_.train.gradient_accumulation_steps, int64_t{1}, users));
  reducer_.prepare(parts == 1 ? Passes::kOne : Passes::kSeveral);
  GatheredPool pool(start_pool(inputs), comm_wait_);
  torch::Tensor sum = torch::zeros({}, ranks_.device);
  for (int i = 0; i < parts; ++i) {
    const bool last = i + 1 == parts;
    if (last) reducer_.last_pass();
    torch::Tensor loss;
    {
      const Slice rows = rank_slice(users, i, parts);
      const AutocastScope autocast(bf16_, ranks_.device.type());
      SoftmaxInputs softmax = embed(inputs.part(rows.first, rows.count));
      softmax.pool = pool.embeddings(last);
      loss = sampled_softmax_loss(softmax, bf16_);
    }
    sum += loss.detach();
    enter_phase(ranks_, step, "backward");
    pool.backward(loss, last);
  }
  return sum;
}

// The others' shares arrive while the transformer runs; the gradients go back to them while it is
// differentiated.
PendingGather TrainingStep::start_pool(const StepInputs& inputs) {
  Communicator& comm = *ranks_.tensors;
  return start_gather_with_grad(embed_pool(inputs), slice_counts(inputs.columns, comm.size()),
                                comm);
}

torch::Tensor TrainingStep::embed_pool(const StepInputs& inputs) {
  const AutocastScope autocast(bf16_, ranks_.device.type());
  return model_->item_embedding(inputs.pool_share, inputs.rows_at(inputs.lookup.pool),
                                inputs.pool_vectors);
}

SoftmaxInputs TrainingStep::embed(const StepInputs& inputs) {
  const AutocastScope autocast(bf16_, ranks_.device.type());
  SoftmaxInputs softmax = inputs.softmax;
  const torch::Tensor rows = inputs.rows_at(inputs.lookup.inputs);
  const torch::Tensor hidden = model_->hidden_at(inputs.positions, inputs.batch, rows);
  const torch::Tensor profile = model_->profile_at(inputs.positions, inputs.batch, rows);
  const auto of_pairs = [&](const torch::Tensor& of_positions) {
    return of_positions.defined() ? of_positions.index_select(0, inputs.position_of_pair)
                                  : of_positions;
  };
  // With a topic each pair has a vector of its own.
  softmax.user = inputs.topic.defined()
                     ? model_->user_head(of_pairs(hidden), of_pairs(profile), inputs.topic)
                     : of_pairs(model_->user_head(hidden, profile));
  softmax.positive = model_->item_embedding(inputs.item, inputs.rows_at(inputs.lookup.positives),
                                            inputs.item_vectors);
  softmax.inverse_temperature = model_->inverse_temperature();
  if (inputs.prior.pool.defined()) {
    const torch::Tensor weights = model_->prior_weights();  // [W]
    // Not a matrix product: autocast would compute that in bf16.
    softmax.positive_prior = (inputs.prior.positives * weights).sum(1);
    softmax.pool_prior = (inputs.prior.pool * weights.unsqueeze(1)).sum(1);
  }
  return softmax;
}

// Returns the global norm. The gradients of the item rows travel while the dense weights are
// updated.
torch::Tensor TrainingStep::update(const StepInputs& inputs, int64_t step) {
  const double rate = learning_rate_at(step, options_.train.steps, options_.optimizer);
  if (table_ == nullptr) return optimizer_.step(reducer_.buckets(), rate);
  const torch::Tensor gradients = inputs.rows.grad();
  table_->return_gradients(gradients);
  const torch::Tensor nan_to_skip =
      comm_wait_.time([&] { return nan_unless_finite(gradients, *ranks_.tensors); });
  const torch::Tensor norm = optimizer_.step(reducer_.buckets(), rate, nan_to_skip);
  // Rows follow the schedule of the weights.
  const double progress = rate / options_.optimizer.learning_rate;
  comm_wait_.time([&] { table_->update(options_.item.table.learning_rate * progress, norm); });
  return norm;
}

}  // namespace pinnerformer
