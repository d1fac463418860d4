#include "trainer/trainer.h"

#include <cmath>
#include <utility>

#include "comm/gather_with_grad.h"
#include "dataloader/errors.h"
#include "dataloader/shard_plan.h"
#include "trainer/autocast.h"
#include "trainer/lr_schedule.h"
#include "trainer/sampled_softmax.h"
#include "trainer/step_inputs.h"

namespace pinnerformer {
namespace {

PinnerFormer make_model(const TrainingData& data, const TrainerOptions& options,
                        torch::Device device) {
  torch::manual_seed(static_cast<uint64_t>(options.run.seed));
  PinnerFormer model(options.model, model_inputs(*data.dataset, options.item.id_table));
  model->to(device);
  return model;
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
  std::vector<NamedParameter> params;
  std::vector<torch::Tensor> tensors;
  for (const auto& entry : model_->named_parameters()) {
    params.push_back({entry.key(), entry.value()});
    tensors.push_back(entry.value());
  }
  reducer_ = std::make_unique<GradientReducer>(tensors, *ranks_.tensors, comm);
  optimizer_ = std::make_unique<Optimizer>(std::move(params), options_.optimizer);
  if (options_.item.id_table.placement != "none") {
    table_ =
        std::make_unique<ItemIdTable>(options_.item.id_table, options_.optimizer,
                                      rows_of_items_.count(), options_.run.seed, *ranks_.control);
    table_saver_ =
        std::make_unique<ItemTableSaver>(*table_, vocabulary_of(*data_.dataset),
                                         options_.checkpoint.table_full_every, *ranks_.control);
  }
  loss_sum_ = torch::zeros({}, ranks_.device);
}

std::unique_ptr<DataLoader> Trainer::make_loader(const ObjectiveOptions& objective) const {
  const LoaderSpec spec{window_spec(objective, options_.model.max_length, data_.train_until),
                        data_.train_until,
                        options_.train.global_batch_users,
                        options_.run.seed,
                        ranks_.control->rank(),
                        ranks_.control->size(),
                        data_.leave_out};
  return std::make_unique<DataLoader>(*data_.dataset, data_.users, data_.positives, spec,
                                      data_.options, position_);
}

bool Trainer::train(const StopCondition& stop) {
  if (coordinator()) start_writer();
  if (log_ && step_ >= options_.train.steps)
    log_->note("nothing left to train: " + options_.run.directory + " stands at step " +
               std::to_string(step_) + ", train.steps is " + std::to_string(options_.train.steps) +
               ". For a new run give another run.directory");
  if (log_ && table_ && options_.item.id_table.hash_buckets > 0)
    log_->note("item.id_table.hash_buckets: " + std::to_string(rows_of_items_.collisions()) +
               " of " + std::to_string(data_.dataset->items()) +
               " items share their row with an item before them");
  model_->train();
  if (!resumed_) pretrain_rows();
  loader_ = make_loader(options_.objective);
  clock_.reset();
  while (step_ < options_.train.steps && !stop_agreed(stop)) {
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

// All ranks know the pairs of all, so all of them stop here together.
void Trainer::require_positives(const GlobalPairs& global, int64_t users) {
  users_without_pairs_ = global.users_with_pairs > 0 ? 0 : users_without_pairs_ + users;
  if (users_without_pairs_ >= std::ssize(data_.users))
    throw DataError(
        data_.dataset->directory() + " has nothing to learn from: in a whole epoch no " +
        "user had a positive action within objective.window_days after another event; " +
        "see positives.actions and `pinnerformer data inspect`");
}

// Returns this rank's part of the loss; the parts sum to the loss of the global batch.
torch::Tensor Trainer::train_step(const TrainingBatch& batch) {
  StepInputs step = step_inputs(batch, options_.objective, sampler_, step_);
  reducer_->prepare();
  receive_rows(step);
  const torch::Tensor loss = this->loss(batch, step);
  loss.backward();
  comm_wait_.time([&] { reducer_->finish(); });
  // Row gradients travel while the dense weights are updated.
  if (table_) table_->return_gradients(step.rows.grad().cpu());
  const double rate = learning_rate_at(step_, options_.train.steps, options_.optimizer);
  grad_norm_ = optimizer_->step(reducer_->buckets(), rate);
  update_rows(rate / options_.optimizer.learning_rate);
  return loss.detach();
}

torch::Tensor Trainer::loss(const TrainingBatch& batch, const StepInputs& step) {
  const bool bf16 = options_.train.precision == "bf16";
  const AutocastScope autocast(bf16, ranks_.device.type());
  SoftmaxInputs inputs = step.softmax;
  inputs.pool =
      gather_pool(model_->item_embedding(step.pool, step.rows_at(step.lookup.pool)), step.columns);
  const torch::Tensor hidden =
      model_->hidden(batch.inputs.to(ranks_.device), step.rows_at(step.lookup.inputs));
  inputs.user = model_->user_head(hidden.flatten(0, 1).index_select(0, step.place));
  inputs.positive = model_->item_embedding(step.item, step.rows_at(step.lookup.positives));
  inputs.inverse_temperature = model_->inverse_temperature();
  return sampled_softmax_loss(inputs, bf16);
}

// The item tower runs on this rank's share of the columns; the others' shares arrive, and the
// gradients go back to them.
torch::Tensor Trainer::gather_pool(const torch::Tensor& mine, int64_t columns) {
  Communicator& comm = *ranks_.tensors;
  return comm_wait_.time(
      [&] { return gather_with_grad(mine, slice_counts(columns, comm.size()), comm); });
}

void Trainer::log_step() {
  torch::Tensor loss = (loss_sum_ / steps_since_).cpu();  // the host waits for the device here
  ranks_.control->all_reduce(loss, "loss")->wait();
  const double grad_norm = grad_norm_.item<double>();
  if (!std::isfinite(loss.item<double>()) || !std::isfinite(grad_norm))
    throw DataError(
        "training diverged at step " + std::to_string(step_) + ": loss " +
        std::to_string(loss.item<double>()) + ", gradient norm " + std::to_string(grad_norm) +
        "; the weights before the bad step are in the last checkpoint. Try a lower " +
        "optimizer.learning_rate or a longer optimizer.warmup_steps");
  loss_since_save_ += loss.item<double>() * static_cast<double>(steps_since_);
  logged_since_save_ += steps_since_;
  if (log_) {
    const auto steps = static_cast<double>(steps_since_);
    const double elapsed_ms = clock_.elapsed_ms();
    log_->record({step_, position_.epoch, loss.item<double>(), model_->temperature(),
                  learning_rate_at(step_ - 1, options_.train.steps, options_.optimizer), grad_norm,
                  1000 * static_cast<double>(users_since_) / elapsed_ms, elapsed_ms / steps,
                  data_wait_.spent_ms() / steps, comm_wait_.spent_ms() / steps,
                  save_stall_.spent_ms(), resident_memory_mib(), ranks_.control->size()});
  }
  loss_sum_.zero_();
  steps_since_ = users_since_ = 0;
  clock_.reset();
  data_wait_.reset();
  comm_wait_.reset();
  save_stall_.reset();
}

}  // namespace pinnerformer
