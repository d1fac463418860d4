// The part of the trainer that looks at a step whose gradient is not finite: a NaN or an infinity
// in the data, or a diverging run.
#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "comm/rows/row_copy.h"
#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset_format.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {
namespace {

constexpr int64_t kMostSkipped = 100;  // in a row: the run stands still
constexpr int64_t kMostUsers = 8;      // named per rank
constexpr size_t kMostGroups = 6;
constexpr int64_t kNone = -1;

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

// The items whose content vectors the batch reads: inputs, padding too, and positives. int64 [n].
torch::Tensor items_of(const TrainingBatch& batch) {
  std::vector<int64_t> positives;
  for (const std::vector<Label>& labels : batch.labels)
    for (const Label& label : labels) positives.push_back(label.item);
  return torch::cat({batch.inputs.item.flatten(), torch::tensor(positives, torch::kInt64)});
}

// The smallest of these items, int64 [n], whose vector is not finite.
int64_t first_bad(const torch::Tensor& vectors, const torch::Tensor& items) {
  const torch::Tensor good = gather_rows(vectors, items).isfinite().all(/*dim=*/1);
  const torch::Tensor bad = items.masked_select(good.logical_not());
  return bad.numel() == 0 ? kNone : bad.min().item<int64_t>();
}

int64_t first_bad_of_all(const torch::Tensor& vectors) {
  constexpr int64_t kRowsPerBlock = 8192;
  for (int64_t first = 0; first < vectors.size(0); first += kRowsPerBlock) {
    const int64_t end = std::min(first + kRowsPerBlock, vectors.size(0));
    const int64_t bad = first_bad(vectors, torch::arange(first, end, torch::kInt64));
    if (bad != kNone) return bad;
  }
  return kNone;
}

}  // namespace

// What all ranks know of such a step.
struct Trainer::Nonfinite {
  int64_t item = kNone;  // the first whose content vector is not finite
  std::string text;
};

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
  const Nonfinite found = describe_nonfinite(batch, rows);
  const bool diverged = found.item == kNone;
  if (options_.train.on_nonfinite == "stop")
    throw DataError((diverged ? "training diverged: " : "training met bad data: ") + found.text +
                    ". The weights are those before this step. " +
                    (diverged ? "Try a lower optimizer.learning_rate or a longer "
                                "optimizer.warmup_steps, look at the data of the users named, or"
                              : "Mend the dataset, or") +
                    " leave such steps out by train.on_nonfinite=skip");
  if (skipped_in_a_row_ >= kMostSkipped)
    throw DataError("training stands still: " + std::to_string(skipped_in_a_row_) +
                    " steps in a row were skipped; the last: " + found.text);
  if (log_) log_->note("skipped a step: " + found.text);
}

// Every rank calls it. The buckets still hold the sums of the gradients.
Trainer::Nonfinite Trainer::describe_nonfinite(const TrainingBatch& batch,
                                               const torch::Tensor& rows) {
  std::vector<std::string> groups, users;
  for (const auto& entry : model_->named_parameters())
    if (!entry.value().grad().isfinite().all().item<bool>()) groups.push_back(entry.key());
  Communicator& control = *ranks_.control;
  const torch::Tensor& vectors = data_.dataset->item_vectors();
  // An item, then users.
  torch::Tensor mine = torch::full({1, 1 + kMostUsers}, kNone, torch::kInt64);
  if (vectors.defined()) mine[0][0] = first_bad(vectors, items_of(batch));
  int64_t named = 0;
  for (const int64_t row : bad_rows(model_, batch.inputs, rows))
    if (named < kMostUsers) mine[0][++named] = batch.user[static_cast<size_t>(row)];
  torch::Tensor all = torch::empty({control.size(), 1 + kMostUsers}, torch::kInt64);
  const std::vector<int64_t> one_each(static_cast<size_t>(control.size()), 1);
  control.all_gather(all, mine, one_each, "item and users of a bad step")->wait();
  Nonfinite found;
  const auto told = all.accessor<int64_t, 2>();
  for (int64_t r = 0; r < control.size(); ++r) {
    if (const int64_t item = told[r][0]; item != kNone)
      found.item = found.item == kNone ? item : std::min(found.item, item);
    for (int64_t i = 1; i <= kMostUsers; ++i)
      if (told[r][i] != kNone) users.push_back(data_.dataset->user_id(told[r][i]));
  }
  // What else the step has read are the random items of the pool.
  if (found.item == kNone && users.empty()) found.item = first_bad_vector();
  if (found.item != kNone) {
    const std::string& directory = data_.dataset->directory();
    found.text = directory + "/" + kItemsFile + ": dataset /item/vector, row " +
                 std::to_string(found.item) + " (item " + data_.dataset->item_id(found.item) +
                 ") is not finite, see `pinnerformer data validate " + directory + "`; ";
  }
  found.text += "the gradient of step " + std::to_string(step_) + " is not finite (norm " +
                c10::str(grad_norm_.item<double>()) + ") in " + joined(groups, kMostGroups) + "; " +
                (users.empty() ? "no user of the step gives a NaN or infinity by itself"
                               : "users whose data give a NaN or infinity: " +
                                     joined(users, static_cast<size_t>(kMostUsers)));
  return found;
}

// Every rank calls it. Rank 0 looks through all vectors, once: a dataset does not change.
int64_t Trainer::first_bad_vector() {
  const torch::Tensor& vectors = data_.dataset->item_vectors();
  torch::Tensor item = torch::full({1}, kNone, torch::kInt64);
  if (coordinator() && vectors.defined()) {
    if (!first_bad_vector_) first_bad_vector_ = first_bad_of_all(vectors);
    item.fill_(*first_bad_vector_);
  }
  ranks_.control->broadcast(item, /*root=*/0, "bad item vector")->wait();
  return item.item<int64_t>();
}

}  // namespace pinnerformer
