// The part of the trainer that looks at a step whose gradient is not finite: a NaN or an infinity
// in the data, or a diverging run.
#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "dataloader/errors.h"
#include "trainer/trainer.h"

namespace pinnerformer {
namespace {

constexpr int64_t kMostSkipped = 100;  // in a row: the run stands still
constexpr int64_t kMostUsers = 8;      // named per rank
constexpr size_t kMostGroups = 6;

std::string joined(const std::vector<std::string>& words, size_t most) {
  std::string text;
  for (size_t i = 0; i < std::min(words.size(), most); ++i) text += (i ? ", " : "") + words[i];
  if (words.size() > most) text += " and " + std::to_string(words.size() - most) + " more";
  return text;
}

// Rows of the batch whose output of the transformer is not finite.
std::vector<int64_t> bad_rows(PinnerFormer& model, const Batch& inputs,
                              const torch::Tensor& learned) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor fine =
      model->hidden(inputs.to(model->device()), learned).isfinite().flatten(1).all(/*dim=*/1).cpu();
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < fine.size(0); ++row)
    if (!fine[row].item<bool>()) rows.push_back(row);
  return rows;
}

}  // namespace

// The norm is the same on all ranks, so all of them stop or go on together. Looking at it one step
// late costs no wait for the device: the next step has been prepared on the host meanwhile.
void Trainer::check_last_step() {
  if (!unchecked_) return;
  const auto [batch, rows] = *std::exchange(unchecked_, std::nullopt);
  if (grad_norm_.isfinite().item<bool>()) {
    skipped_in_a_row_ = 0;
    return;
  }
  ++skipped_since_;
  ++skipped_in_a_row_;
  const std::string what = describe_nonfinite(batch, rows);
  if (options_.train.on_nonfinite == "stop")
    throw DataError(
        "training diverged: " + what +
        ". The weights are those before this step. Try a lower "
        "optimizer.learning_rate or a longer optimizer.warmup_steps, look at the data of "
        "the users named, or leave such steps out by train.on_nonfinite=skip");
  if (skipped_in_a_row_ >= kMostSkipped)
    throw DataError("training stands still: " + std::to_string(skipped_in_a_row_) +
                    " steps in a row were skipped; the last: " + what);
  if (log_) log_->note("skipped a step: " + what);
}

// Every rank calls it. The buckets still hold the sums of the gradients.
std::string Trainer::describe_nonfinite(const TrainingBatch& batch, const torch::Tensor& rows) {
  std::vector<std::string> groups, users;
  for (const auto& entry : model_->named_parameters())
    if (!entry.value().grad().isfinite().all().item<bool>()) groups.push_back(entry.key());
  Communicator& control = *ranks_.control;
  torch::Tensor mine = torch::full({1, kMostUsers}, -1, torch::kInt64);
  int64_t named = 0;
  for (const int64_t row : bad_rows(model_, batch.inputs, rows))
    if (named < kMostUsers) mine[0][named++] = batch.user[static_cast<size_t>(row)];
  torch::Tensor all = torch::empty({control.size(), kMostUsers}, torch::kInt64);
  const std::vector<int64_t> one_each(static_cast<size_t>(control.size()), 1);
  control.all_gather(all, mine, one_each, "users of a bad step")->wait();
  for (int64_t i = 0; i < all.numel(); ++i)
    if (const int64_t user = all.flatten()[i].item<int64_t>(); user >= 0)
      users.push_back(data_.dataset->user_id(user));
  return "the gradient of step " + std::to_string(step_) + " is not finite (norm " +
         c10::str(grad_norm_.item<double>()) + ") in " + joined(groups, kMostGroups) + "; " +
         (users.empty() ? "no user of the step gives a NaN or infinity by itself"
                        : "users whose data give a NaN or infinity: " +
                              joined(users, static_cast<size_t>(kMostUsers)));
}

}  // namespace pinnerformer
