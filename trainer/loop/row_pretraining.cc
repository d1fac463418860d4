#include "trainer/loop/row_pretraining.h"

#include "comm/communicator.h"
#include "dataloader/base/slice.h"
#include "trainer/items/row_gradients.h"
#include "trainer/loop/training_data.h"
#include "trainer/loop/training_step.h"
#include "trainer/normalise.h"
#include "trainer/objective/sampled_softmax.h"

namespace pinnerformer {
namespace {

// Every event and the positive that follows it, anywhere in the history.
ObjectiveOptions next_positive(ObjectiveOptions objective) {
  if (objective.name != ObjectiveKind::kNextItem) objective.name = ObjectiveKind::kSasrec;
  objective.recent_days = 0;
  return objective;
}

// The rows alone are to explain the pairs.
TrainerOptions without_prior(TrainerOptions options) {
  options.model.prior_days.clear();
  return options;
}

}  // namespace

RowPretraining::RowPretraining(const TrainingData& data, const TrainerOptions& options,
                               const Ranks& ranks, ItemTable& table, NonfiniteCheck& nonfinite,
                               StepLog& log)
    : options_(without_prior(options)),
      ranks_(ranks),
      table_(table),
      nonfinite_(nonfinite),
      log_(log),
      planner_(data, options_, next_positive(options.objective), ranks, &table,
               log.timers().comm_wait),
      loader_(make_loader(data, options, next_positive(options.objective), ranks, {})) {}

RankRequests RowPretraining::run(int64_t step, RankRequests requests) {
  const TrainingBatch batch = loader_->next();
  const StepPlan plan = planner_.plan(batch, step, requests);
  if (plan.requests.any()) return plan.requests;
  log_.add_skipped_users(plan);
  StepInputs inputs = build_step_inputs(batch, plan, options_.negatives, ranks_.device);
  WaitTimer& comm_wait = log_.timers().comm_wait;
  inputs.rows = comm_wait.time([&] { return table_.receive(); }).requires_grad_(true);
  const torch::Tensor loss = loss_of(inputs);
  loss.backward();
  const int64_t steps = options_.item.table.pretrain_steps, taken = steps + step + 1;
  if (!update(inputs, taken)) return {};
  if (taken == steps || taken % options_.train.log_every == 0) note_loss(loss, taken);
  return {};
}

void RowPretraining::note_loss(const torch::Tensor& loss, int64_t taken) {
  torch::Tensor sum = loss.detach().cpu();
  ranks_.control->all_reduce(sum, "loss of the item rows")->wait();
  log_.note("item rows alone: step " + std::to_string(taken) + " of " +
            std::to_string(options_.item.table.pretrain_steps) + ", loss " +
            std::to_string(sum.item<double>()));
}

// False where the step is left out.
bool RowPretraining::update(const StepInputs& inputs, int64_t taken) {
  const torch::Tensor gradients = inputs.rows.grad();
  WaitTimer& comm_wait = log_.timers().comm_wait;
  table_.return_gradients(gradients);
  const torch::Tensor nan =
      comm_wait.time([&] { return nan_unless_finite(gradients, *ranks_.tensors); });
  comm_wait.time([&] { table_.update(options_.item.table.learning_rate, nan); });
  const bool finite = nan.isfinite().item<bool>();
  nonfinite_.check_rows(
      taken, finite,
      finite ? std::vector<int64_t>() : rows_not_finite(inputs.lookup.rows, gradients));
  return finite;
}

// The rows themselves, normalised, take the place of user and item embeddings.
torch::Tensor RowPretraining::loss_of(const StepInputs& inputs) {
  SoftmaxInputs softmax = inputs.softmax;
  Communicator& comm = *ranks_.tensors;
  const PendingGather pool =
      start_gather_with_grad(normalised_rows(inputs.rows_at(inputs.lookup.pool)),
                             slice_counts(inputs.columns, comm.size()), comm);
  softmax.pool = log_.timers().comm_wait.time([&] { return pool.rows(); });
  const torch::Tensor rows_with_pairs =
      inputs.lookup.inputs.flatten().index_select(0, inputs.positions);
  softmax.user =
      normalised_rows(inputs.rows_at(rows_with_pairs)).index_select(0, inputs.position_of_pair);
  softmax.positive = normalised_rows(inputs.rows_at(inputs.lookup.positives));
  softmax.inverse_temperature = torch::full({}, 1 / options_.model.temperature, ranks_.device);
  return sampled_softmax_loss(softmax, /*bf16=*/false);
}

}  // namespace pinnerformer
