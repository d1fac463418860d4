#include "trainer/loop/trainer.h"

#include <algorithm>
#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/sampling/epoch_plan.h"
#include "trainer/loop/step_inputs.h"
#include "trainer/model/autocast.h"
#include "trainer/objective/sampled_softmax.h"
#include "trainer/optimizer/lr_schedule.h"

namespace pinnerformer {
namespace {

PinnerFormer make_model(const TrainingData& data, const TrainerOptions& options,
                        torch::Device device) {
  torch::manual_seed(static_cast<uint64_t>(options.run.seed));
  PinnerFormer model(options.model, model_inputs(*data.dataset, options.item.id_table));
  model->to(device);
  return model;
}

// In the order in which a step uses them first. The item tower makes the pool before anything else
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

}  // namespace

Trainer::Trainer(TrainingData data, TrainerOptions options, const CommOptions& comm, Ranks ranks,
                 std::string config)
    : data_(std::move(data)),
      options_(std::move(options)),
      ranks_(ranks),
      config_(std::move(config)),
      model_(make_model(data_, options_, ranks.device)),
      rows_of_items_(options_.item.id_table, *data_.dataset),
      sampler_(options_.negatives, data_.dataset->items(), options_.run.seed) {
  std::vector<NamedParameter> params = parameters_by_use(model_);
  std::vector<torch::Tensor> tensors;
  for (const NamedParameter& param : params) tensors.push_back(param.value);
  reducer_ = std::make_unique<GradientReducer>(tensors, *ranks_.tensors, comm);
  optimizer_ = std::make_unique<Optimizer>(std::move(params), options_.optimizer);
  if (options_.item.id_table.placement != "none") {
    table_ =
        std::make_unique<ItemTable>(options_.item.id_table, options_.optimizer,
                                    rows_of_items_.count(), options_.run.seed, *ranks_.control);
    table_saver_ =
        std::make_unique<ItemTableSaver>(*table_, vocabulary_of(*data_.dataset),
                                         options_.checkpoint.table_full_every, *ranks_.control);
  }
  loss_sum_ = torch::zeros({}, ranks_.device);
}

std::unique_ptr<DataLoader> Trainer::make_loader(const ObjectiveOptions& objective) const {
  const LoaderSpec spec{window_spec(objective, options_.model.max_length, data_.part.train_until),
                        data_.part,
                        options_.train.global_batch_users,
                        options_.run.seed,
                        ranks_.control->rank(),
                        ranks_.control->size()};
  return std::make_unique<DataLoader>(*data_.dataset, data_.users, data_.positives, spec,
                                      data_.options, position_);
}

bool Trainer::train(const StopCondition& stop) {
  if (coordinator()) start_writer();
  if (log_ && options_.train.precision == "bf16" && !has_bfloat16(ranks_.device.type()))
    log_->note(
        "train.precision=bf16: this CPU has no bfloat16 instructions; it computes in fp32, "
        "which is faster than emulating them");
  if (log_ && step_ >= options_.train.steps)
    log_->note("nothing left to train: " + options_.run.directory + " stands at step " +
               std::to_string(step_) + ", train.steps is " + std::to_string(options_.train.steps) +
               ". For a new run give another run.directory");
  if (log_ && table_ && options_.item.id_table.hash_buckets > 0)
    log_->note("item.id_table.hash_buckets: " + std::to_string(rows_of_items_.collisions()) +
               " of " + std::to_string(data_.dataset->items()) +
               " items share their row with an item before them");
  model_->train();
  if (!resumed_ && !pretrain_rows(stop)) return false;
  loader_ = make_loader(options_.objective);
  clock_.reset();
  while (step_ < options_.train.steps && !stop_agreed(stop)) {
    enter("wait for data");
    const TrainingBatch batch = data_wait_.time([&] { return loader_->next(); });
    loss_sum_ += train_step(batch);
    ++step_;
    position_ = loader_->position();
    ++steps_since_;
    samples_ += batch.global_slots;
    users_since_ += batch.global_slots;
    const bool last = step_ == options_.train.steps;
    if (last || step_ % options_.train.log_every == 0) log_step();
    if (last || step_ % options_.checkpoint.every_steps == 0) clock_.pause([&] { save(); });
  }
  if (saved_step_ != step_) save();
  wait_for_writer();
  return step_ >= options_.train.steps;
}

// All ranks know what the loaders of all met, so all of them stop here together, or go on.
void Trainer::settle(const DataFaults& faults, const TrainingBatch& batch) {
  const std::string note = settle_faults(faults, batch, *ranks_.control);
  if (log_ && !note.empty()) log_->note(note);
  skipped_users_since_ += faults.skipped_users;
}

// All ranks know the pairs of all, so all of them stop here together.
void Trainer::require_positives(const GlobalPairs& global, int64_t users) {
  users_without_pairs_ = global.users_with_pairs > 0 ? 0 : users_without_pairs_ + users;
  if (users_without_pairs_ >= data_.users.size())
    throw DataError(
        data_.dataset->directory() + " has nothing to learn from: in a whole epoch no " +
        "user had a positive action within objective.window_days after another event; " +
        "see positives.actions and `pinnerformer data inspect`");
}

// Returns this rank's part of the loss; the parts sum to the loss of the global batch.
torch::Tensor Trainer::train_step(const TrainingBatch& batch) {
  enter("forward");
  StepInputs step = step_inputs(batch, options_.objective, sampler_, step_);
  check_last_step();
  receive_rows(step);
  const torch::Tensor loss = backward(batch.inputs, step);
  comm_wait_.time([&] { reducer_->finish(); });
  enter("optimizer");
  // Row gradients travel while the dense weights are updated.
  if (table_) table_->return_gradients(step.rows.grad().cpu());
  const double rate = learning_rate_at(step_, options_.train.steps, options_.optimizer);
  grad_norm_ = optimizer_->step(reducer_->buckets(), rate);
  settle_rows(rate / options_.optimizer.learning_rate);
  unchecked_ = {batch, table_ ? step.rows_at(step.lookup.inputs).detach() : torch::Tensor()};
  return torch::where(grad_norm_.isfinite(), loss, torch::zeros_like(loss));
}

// Note [Accumulation]
// The gathered pool has one graph, with a collective in its backward. All parts but the last see
// the pool as a leaf that collects its gradient; in the last one <pool, collected> is added to what
// is differentiated, which hands the collected gradient on through the graph. So there is one
// reduce-scatter, and one all-reduce per bucket, however many parts there are.
torch::Tensor Trainer::backward(const Batch& inputs, const StepInputs& step) {
  using Passes = GradientReducer::Passes;
  const int64_t users = inputs.users();
  const auto parts = static_cast<int>(std::clamp(options_.train.accumulate, int64_t{1}, users));
  reducer_->prepare(parts == 1 ? Passes::kOne : Passes::kSeveral);
  const PendingGather pending = start_pool(item_pool(step), step.columns);
  torch::Tensor sum = torch::zeros({}, ranks_.device), pool, collected;
  for (int i = 0; i < parts; ++i) {
    const bool last = i + 1 == parts;
    if (last) reducer_->last_pass();
    if (!last && !collected.defined())
      collected = comm_wait_.time([&] { return pending.values(); }).requires_grad_();
    const Slice rows = rank_slice(users, i, parts);
    const torch::Tensor loss =
        this->loss(inputs.rows(rows.first, rows.count), step.part(rows.first, rows.count),
                   [&] { return pool = last ? rows_of(pending) : collected; });
    sum += loss.detach();
    enter("backward");
    const bool hand_on = last && collected.defined();
    (hand_on ? loss + (pool * collected.grad()).sum() : loss).backward();
  }
  return sum;
}

torch::Tensor Trainer::loss(const Batch& batch, const StepInputs& step,
                            const std::function<torch::Tensor()>& pool) {
  const bool bf16 = use_bfloat16(options_.train.precision, ranks_.device.type());
  const AutocastScope autocast(bf16, ranks_.device.type());
  SoftmaxInputs inputs = step.softmax;
  const torch::Tensor hidden =
      model_->hidden_at(step.places, batch.to(ranks_.device), step.rows_at(step.lookup.inputs));
  inputs.user = model_->user_head(hidden).index_select(0, step.place);
  inputs.positive = model_->item_embedding(step.item, step.rows_at(step.lookup.positives));
  inputs.inverse_temperature = model_->inverse_temperature();
  inputs.pool = pool();  // as late as can be: the other ranks' shares are still on their way
  return sampled_softmax_loss(inputs, bf16);
}

// The item tower runs on this rank's share of the columns.
torch::Tensor Trainer::item_pool(const StepInputs& step) {
  const AutocastScope autocast(use_bfloat16(options_.train.precision, ranks_.device.type()),
                               ranks_.device.type());
  return model_->item_embedding(step.pool, step.rows_at(step.lookup.pool));
}

// The others' shares arrive while the transformer runs; the gradients go back to them while it is
// differentiated.
PendingGather Trainer::start_pool(const torch::Tensor& mine, int64_t columns) {
  Communicator& comm = *ranks_.tensors;
  return start_gather_with_grad(mine, slice_counts(columns, comm.size()), comm);
}

torch::Tensor Trainer::rows_of(const PendingGather& pool) {
  return comm_wait_.time([&] { return pool.rows(); });
}

void Trainer::enter(const char* phase) {
  if (ranks_.watchdog) ranks_.watchdog->enter(step_ + 1, phase);
}

void Trainer::log_step() {
  check_last_step();  // the host waits for the device here
  const int64_t taken = std::max(steps_since_ - skipped_since_, int64_t{1});
  torch::Tensor loss = (loss_sum_ / taken).cpu();
  ranks_.control->all_reduce(loss, "loss")->wait();
  const double grad_norm = grad_norm_.item<double>();
  loss_since_save_ += loss.item<double>() * static_cast<double>(steps_since_);
  logged_since_save_ += steps_since_;
  if (log_) {
    const auto steps = static_cast<double>(steps_since_);
    const double elapsed_ms = clock_.elapsed_ms();
    log_->record({step_, position_.epoch, loss.item<double>(), model_->temperature(),
                  learning_rate_at(step_ - 1, options_.train.steps, options_.optimizer), grad_norm,
                  1000 * static_cast<double>(users_since_) / elapsed_ms, elapsed_ms / steps,
                  data_wait_.spent_ms() / steps, comm_wait_.spent_ms() / steps,
                  save_stall_.spent_ms(), resident_memory_mib(), ranks_.control->size(),
                  skipped_users_since_});
  }
  loss_sum_.zero_();
  steps_since_ = users_since_ = skipped_since_ = skipped_users_since_ = 0;
  clock_.reset();
  data_wait_.reset();
  comm_wait_.reset();
  save_stall_.reset();
}

}  // namespace pinnerformer
