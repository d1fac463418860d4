// Item rows trained before the model: for a user at an event, the row of its item must find the row
// of the next positive among those of the pool.
#include "trainer/loop/step_inputs.h"
#include "trainer/normalise.h"

namespace pinnerformer {

// The steps are numbered -N .. -1, so that their draws are none of the main run's. False where the
// run was asked to stop before their end: nothing of them is kept.
bool Trainer::pretrain_rows(const StopCondition& stop) {
  const int64_t steps = table_ ? options_.item.id_table.pretrain_steps : 0;
  if (steps == 0) return true;
  ObjectiveOptions objective = options_.objective;
  objective.name = "sasrec";  // every event and the positive that follows it
  objective.recent_days = 0;  // rows want all there is
  NegativeSampler sampler(options_.negatives, data_.dataset->items(), options_.run.seed);
  const std::unique_ptr<DataLoader> loader = make_loader(objective);
  for (int64_t step = -steps; step < 0; ++step) {
    enter("item rows alone");
    if (stop_agreed(stop)) return false;
    StepInputs inputs = step_inputs(loader->next(), objective, sampler, step);
    receive_rows(inputs);
    torch::Tensor loss = pretrain_loss(inputs);
    loss.backward();
    table_->return_gradients(inputs.rows.grad().cpu());
    update_rows(/*progress=*/1);
    const bool last = step == -1;
    if (!last && (steps + step + 1) % options_.train.log_every != 0) continue;
    torch::Tensor sum = loss.detach().cpu();
    ranks_.control->all_reduce(sum, "loss of the item rows")->wait();
    if (log_)
      log_->note("item rows alone: step " + std::to_string(steps + step + 1) + " of " +
                 std::to_string(steps) + ", loss " + std::to_string(sum.item<double>()));
  }
  save();
  return true;
}

torch::Tensor Trainer::pretrain_loss(const StepInputs& step) {
  SoftmaxInputs inputs = step.softmax;
  inputs.pool = rows_of(start_pool(normalised_rows(step.rows_at(step.lookup.pool)), step.columns));
  inputs.user =
      normalised_rows(step.rows_at(step.lookup.inputs.flatten().index_select(0, step.places)))
          .index_select(0, step.place);
  inputs.positive = normalised_rows(step.rows_at(step.lookup.positives));
  inputs.inverse_temperature = torch::full({}, 1 / options_.model.temperature, ranks_.device);
  return sampled_softmax_loss(inputs, /*bf16=*/false);
}

}  // namespace pinnerformer
