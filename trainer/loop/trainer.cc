#include "trainer/loop/trainer.h"

#include <algorithm>
#include <utility>

#include "comm/communicator.h"
#include "dataloader/base/errors.h"
#include "trainer/items/item_lookup.h"
#include "trainer/loop/row_pretraining.h"
#include "trainer/loop/run_validation.h"
#include "trainer/loop/settings_notes.h"
#include "trainer/loop/step_inputs.h"
#include "trainer/optimizer/lr_schedule.h"

namespace pinnerformer {
namespace {

// A limit below what is kept back (stop_reserve_seconds()) would end every start in this way.
constexpr const char* kNoStep =
    "; this start took no step. Where a time limit asked (train.stop_after, or that of the job), "
    "raise it: a second, two steps and four saves are kept back for the last checkpoint";

// The weight that explain() follows: the last one of the user's side.
std::string traced_weight_name(const ModelOptions& options, PinnerFormer& model) {
  if (options.user_head != UserHead::kNorm) return "head_output.weight";
  std::string last;
  for (const auto& weight : model->named_parameters())
    if (weight.key().starts_with("block") && weight.value().dim() == 2) last = weight.key();
  return last;
}

PinnerFormer make_model(const TrainingData& data, const TrainerOptions& options,
                        torch::Device device) {
  torch::manual_seed(static_cast<uint64_t>(options.run.seed));
  ModelInputs inputs = model_inputs(*data.dataset, options.item);
  inputs.item_vectors = vectors_near(device, inputs.item_vectors, data.options.device_vectors_mib);
  inputs.code_rows = vectors_near(device, inputs.code_rows, data.options.device_vectors_mib);
  PinnerFormer model(options.model, inputs);
  move_to_device(*model, device);
  return model;
}

std::unique_ptr<ItemTable> make_item_table(const TrainingData& data, const TrainerOptions& options,
                                           const Ranks& ranks) {
  const ItemTableOptions& table = options.item.table;
  if (table.placement == ItemPlacement::kNone) return nullptr;
  return std::make_unique<ItemTable>(
      table, options.optimizer, ItemRows(table, *data.dataset).count(), options.run.seed, ranks);
}

}  // namespace

Trainer::Trainer(TrainingData data, TrainerOptions options, const CommOptions& comm, Ranks ranks,
                 std::string config)
    : data_(std::move(data)),
      options_(std::move(options)),
      ranks_(ranks),
      model_(make_model(data_, options_, ranks.device)),
      host_vectors_(model_->vectors_on_host()),
      table_(make_item_table(data_, options_, ranks)),
      log_(options_, ranks_, config),
      planner_(data_, options_, options_.objective, ranks_, table_.get(), log_.timers().comm_wait),
      step_(options_, comm, ranks_, model_, table_.get(), log_.timers().comm_wait),
      checkpoints_(options_, std::move(config), *data_.dataset, data_.users.size(),
                   {model_, step_.optimizer(), planner_.sampler(), table_.get()}, ranks_) {}

void Trainer::resume(const std::function<void(const std::string&)>& accept,
                     const std::string& from) {
  if (const auto progress = checkpoints_.resume(accept, from)) progress_ = *progress;
}

void Trainer::init_from(const std::function<void(const std::string&)>& accept,
                        const std::string& from) {
  checkpoints_.init_from(accept, from);
}

bool Trainer::train(const StopCondition& stop, const ProfileRequest& profiled) {
  first_step_ = progress_.step;
  log_.open(progress_.step);
  checkpoints_.start_writing(log_);
  note_settings();
  model_->train();
  if (!checkpoints_.have_trained_weights() && !pretrain_rows(stop)) {
    log_.finish();
    return false;
  }
  RunProgress before = progress_;
  try {
    return train_steps(stop, profiled, before);
  } catch (const NonfiniteError& error) {
    save_step_before(before, error);
  }
}

bool Trainer::train_steps(const StopCondition& stop, const ProfileRequest& profiled,
                          RunProgress& before) {
  const auto loader = open_loader(progress_.position);
  NonfiniteCheck nonfinite(options_, ranks_, *data_.dataset, model_, log_);
  RunValidation validation(data_, options_, ranks_, model_, table_.get());
  StepProfile profile(profiled, ranks_.device, log_);
  StepTimers& timers = log_.timers();
  StopClock clock;
  const auto beside_steps = [&](const auto& call) {
    timers.clock.pause([&] { clock.pause(call); });
  };
  const auto validation_seconds = [&] {
    return validation.due(progress_.step + 1) ? validation.seconds() : 0;
  };
  log_.restart();
  while (progress_.step < options_.train.steps && !validation.patience_spent(progress_)) {
    const RankRequests asked = own_requests(stop, clock, validation_seconds());
    enter_phase(ranks_, progress_.step, "wait for data");
    const TrainingBatch batch = timers.data_wait.time([&] { return loader->next(); });
    const std::optional<StepResult> result = train_step(batch, nonfinite, asked);
    if (!result) break;
    profile.end_step();
    log_.add(batch, *result);
    before = progress_;
    ++progress_.step;
    progress_.samples += batch.global_slots;
    progress_.position = loader->position();
    const bool validated = validation.due(progress_.step);
    bool last = progress_.step == options_.train.steps, best = false;
    if (validated) {
      nonfinite.check();
      beside_steps([&] { best = validation.run(progress_, log_); });
      last = last || validation.patience_spent(progress_);
    }
    if (last || validated || progress_.step % options_.train.log_every == 0) {
      nonfinite.check();  // the host waits for the device here
      log_.record(progress_, model_->temperature());
    }
    if (last || best || progress_.step % options_.checkpoint.every_steps == 0) {
      nonfinite.check();
      beside_steps([&] { checkpoints_.save(progress_, log_); });
    }
  }
  nonfinite.check();
  profile.finish();
  return end_training(validation.patience_spent(progress_));
}

bool Trainer::end_training(bool early) {
  if (checkpoints_.saved_step() != progress_.step) checkpoints_.save(progress_, log_);
  checkpoints_.finish(log_);
  if (early)
    log_.note("ended early: no validation since step " + std::to_string(progress_.best.step) +
              " was better (validate.patience). Use that step with --checkpoint best");
  log_.finish();
  return early || progress_.step >= options_.train.steps;
}

// The bad step has changed no weight, row or moment: what was counted and read is taken back. Every
// rank calls it, for they throw together.
void Trainer::save_step_before(const RunProgress& before, const NonfiniteError& error) {
  progress_ = before;
  planner_.sampler().take_back(progress_.step);
  const bool saved = checkpoints_.saved_step() == progress_.step;
  if (progress_.step == 0 && !saved)
    throw NonfiniteError(error);  // a fresh start has the same state
  const std::string path = checkpoint_path(options_.run.directory + "/checkpoints", progress_.step);
  try {
    if (!saved) checkpoints_.save(progress_, log_);
    checkpoints_.finish(log_);  // else a rank could end the job while rank 0 still writes
  } catch (const std::exception& failure) {
    throw NonfiniteError(error.what() + ("\nThe state before this step could not be saved as " +
                                         path + ": " + failure.what()));
  }
  throw NonfiniteError(error.what() + ("\nThe state before this step is in " + path) +
                       ": start again from there with train.on_nonfinite=skip, or give its "
                       "weights to a fresh run.directory with --init-from " +
                       path);
}

std::unique_ptr<DataLoader> Trainer::open_loader(LoaderPosition position) {
  return make_loader(data_, options_, options_.objective, ranks_, position,
                     model_->reads_vectors_of_batch() ? host_vectors_ : torch::Tensor());
}

std::optional<StepResult> Trainer::train_step(const TrainingBatch& batch, NonfiniteCheck& nonfinite,
                                              RankRequests requests) {
  const int64_t step = progress_.step;
  enter_phase(ranks_, step, "forward");
  const StepPlan plan = planner_.plan(batch, step, requests);
  if (must_stop(plan.requests)) return std::nullopt;
  log_.add_skipped_users(plan);
  StepInputs inputs =
      build_step_inputs(batch, plan, options_.negatives, ranks_.device, host_vectors_);
  try {
    nonfinite.check();  // of the step before: see NonfiniteCheck
  } catch (const NonfiniteError&) {
    if (table_) static_cast<void>(table_->receive());  // else a save would meet them on their way
    throw;
  }
  StepResult result = step_.run(std::move(inputs), step);
  result.has_pairs = plan.total_weight > 0;
  nonfinite.watch(step + 1, batch, result);
  return result;
}

// False where the run was asked to stop before the last of these steps: nothing of them is kept.
bool Trainer::pretrain_rows(const StopCondition& stop) {
  const int64_t steps = table_ ? options_.item.table.pretrain_steps : 0;
  if (steps == 0) return true;
  NonfiniteCheck nonfinite(options_, ranks_, *data_.dataset, model_, log_);
  RowPretraining pretraining(data_, options_, ranks_, *table_, nonfinite, log_);
  StopClock clock;
  for (int64_t step = -steps; step < 0; ++step) {
    enter_phase(ranks_, progress_.step, "item rows alone");
    if (must_stop(pretraining.run(step, own_requests(stop, clock, /*after_seconds=*/0))))
      return false;
  }
  checkpoints_.save(progress_, log_);
  return true;
}

RankRequests Trainer::own_requests(const StopCondition& stop, StopClock& clock,
                                   double after_seconds) {
  return {.stop = clock.due(stop, checkpoints_.save_seconds(), after_seconds),
          .save_failed = checkpoints_.save_failed(log_)};
}

// `requests` are those of all ranks. Throws where a save has failed.
bool Trainer::must_stop(RankRequests requests) {
  if (requests.save_failed) checkpoints_.throw_save_error();
  if (requests.stop)
    log_.note("asked to stop: ending with step " + std::to_string(progress_.step) +
              (progress_.step > first_step_ ? "" : kNoStep));
  return requests.stop;
}

void Trainer::note_settings() {
  for (const std::string& note : settings_notes(options_, ranks_.device.type())) log_.note(note);
  if (progress_.step >= options_.train.steps)
    log_.note("nothing left to train: " + options_.run.directory + " stands at step " +
              std::to_string(progress_.step) + ", train.steps is " +
              std::to_string(options_.train.steps) + ". For a new run give another run.directory");
  const ItemTableOptions& table = options_.item.table;
  if (table_ && table.hash_buckets > 0 && ranks_.control->rank() == 0)
    log_.note(
        "item.table.hash_buckets: " + std::to_string(ItemRows(table, *data_.dataset).collisions()) +
        " of " + std::to_string(data_.dataset->items()) +
        " items share their row with an item before them");
}

Trainer::StepTimes Trainer::time_steps(int64_t warmup, int64_t steps) {
  // More than one, or caches would look better than they are. No more than steps: what is wrong
  // with a batch is told by the step that takes it, on all ranks together.
  const auto count = static_cast<size_t>(std::min(warmup + steps, int64_t{4}));
  model_->train();
  const auto loader = open_loader(progress_.position);
  std::vector<TrainingBatch> batches;
  while (batches.size() < count) batches.push_back(loader->next());
  StepTimes times;
  double events = 0, users = 0;
  for (const TrainingBatch& batch : batches) {
    events += batch.inputs.length.sum().item<double>();
    users += static_cast<double>(batch.inputs.users());
  }
  times.mean_window = users == 0 ? 0 : events / users;
  NonfiniteCheck nonfinite(options_, ranks_, *data_.dataset, model_, log_);
  for (int64_t i = 0; i < warmup + steps; ++i) {
    Stopwatch clock;
    const StepResult result =
        train_step(batches[static_cast<size_t>(i) % count], nonfinite).value();
    static_cast<void>(result.grad_norm.item<float>());  // waits for the device
    ++progress_.step;
    if (i >= warmup) times.ms.push_back(clock.elapsed_ms());
  }
  nonfinite.check();
  return times;
}

StepTrace Trainer::trace_step(int64_t user, int64_t first_step) {
  TORCH_CHECK(ranks_.control->size() == 1, "a step is traced on one rank");
  model_->train();
  const auto loader = open_loader({});
  NonfiniteCheck nonfinite(options_, ranks_, *data_.dataset, model_, log_);
  int64_t searched = 0;  // users of the steps from first_step on
  // Two epochs' worth: first_step may lie in the middle of one, and every epoch has another order.
  while (searched < 2 * data_.users.size() && progress_.step < options_.train.steps) {
    const int64_t epoch = loader->position().epoch;
    const TrainingBatch batch = loader->next();
    const bool candidate = progress_.step + 1 >= first_step;
    if (const auto row = row_of_user(batch, user); candidate && row) {
      StepTrace trace = trace_sample_of(batch, *row);
      trace.epoch = epoch;
      return trace;
    }
    static_cast<void>(train_step(batch, nonfinite));
    ++progress_.step;
    if (candidate) searched += batch.global_slots;
  }
  const std::string name =
      "user " + data_.dataset->user_id(user) + " of " + data_.dataset->directory();
  if (progress_.step >= options_.train.steps)
    throw DataError(name + " has no sample in the steps from " + std::to_string(first_step) +
                    " to " + std::to_string(options_.train.steps) +
                    " (train.steps). Give an earlier --step, or raise train.steps");
  throw DataError(name +
                  " has no sample in two epochs: it is held out for evaluation, or has no positive "
                  "within objective.window_days or window_events after another event "
                  "(positives.actions), with objective.recent_days one of the last days");
}

// The embeddings are computed twice, here and in the step: random draws are keyed, so that they are
// the same.
StepTrace Trainer::trace_sample_of(const TrainingBatch& batch, int64_t row) {
  const int64_t step = progress_.step;
  const StepPlan plan = planner_.plan(batch, step);
  StepInputs inputs =
      build_step_inputs(batch, plan, options_.negatives, ranks_.device, host_vectors_);
  StepTrace trace;
  {
    const torch::NoGradGuard no_grad;
    StepInputs seen = inputs;
    if (table_) seen.rows = table_->receive();
    SoftmaxInputs softmax = step_.embed(seen);
    softmax.pool = step_.embed_pool(seen);
    trace = trace_sample(data_, batch, row, plan, softmax);
    if (table_) table_->request(plan.lookup.rows);
  }
  const std::string traced_name = traced_weight_name(options_.model, model_);
  const torch::Tensor weight = model_->named_parameters()[traced_name];
  const torch::Tensor before = weight.detach().clone();
  const StepResult result = step_.run(std::move(inputs), step);
  trace.step = step + 1;
  trace.loss = result.loss.item<double>();
  trace.grad_norm = result.grad_norm.item<double>();
  trace.learning_rate = learning_rate_at(step, options_.train.steps, options_.optimizer);
  trace.weight = traced_weight(traced_name, before, weight);
  return trace;
}

std::vector<AgreedItem> Trainer::layout() {
  std::string shapes, buckets;
  for (const auto& entry : model_->named_parameters())
    shapes += c10::str(entry.key(), ": ", entry.value().sizes(), "\n");
  if (table_) shapes += c10::str("item table: ", table_->rows(), " x ", table_->width(), "\n");
  for (const Bucket& bucket : step_.bucket_plan())
    buckets += c10::str(bucket.params.size(), " parameters, ", bucket.bytes, " bytes\n");
  return {{"parameter shapes", shapes}, {"bucket plan", buckets}};
}

}  // namespace pinnerformer
