#include "trainer/loop/nonfinite_check.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "comm/gather_records.h"
#include "comm/rows/row_copy.h"
#include "dataloader/dataset/dataset_format.h"
#include "trainer/items/row_gradients.h"

namespace pinnerformer {
namespace {

constexpr int64_t kMostSkipped = 100;  // in a row
constexpr int64_t kMostUsers = 8;      // named per rank
constexpr size_t kMostGroups = 6;
constexpr size_t kMostRows = 6;
constexpr int64_t kNone = -1;

std::string joined(const std::vector<std::string>& words, size_t most) {
  std::string text;
  for (size_t i = 0; i < std::min(words.size(), most); ++i) text += (i ? ", " : "") + words[i];
  if (words.size() > most) text += " and " + std::to_string(words.size() - most) + " more";
  return text;
}

// Rows of the batch whose output of the transformer is not finite.
std::vector<int64_t> bad_rows(PinnerFormer& model, const Batch& inputs, const StepResult& result) {
  const torch::NoGradGuard no_grad;
  torch::Tensor learned;
  if (result.rows.defined()) learned = torch::embedding(result.rows, result.input_lookup);
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

NonfiniteCheck::NonfiniteCheck(const TrainerOptions& options, const Ranks& ranks,
                               const Dataset& dataset, PinnerFormer model, StepLog& log)
    : options_(options),
      ranks_(ranks),
      dataset_(dataset),
      rows_of_items_(options.item.table, dataset),
      model_(std::move(model)),
      log_(log) {}

void NonfiniteCheck::watch(int64_t step, const TrainingBatch& batch, const StepResult& result) {
  unchecked_ = {step, batch, result};
}

// The norm is the same on all ranks, so all of them stop or go on together.
void NonfiniteCheck::check() {
  if (!unchecked_) return;
  const Step step = *std::exchange(unchecked_, std::nullopt);
  if (step.result.grad_norm.isfinite().item<bool>()) {
    skipped_in_a_row_ = 0;
    return;
  }
  log_.add_skipped_step();
  stop_or_skip(describe(step));
}

void NonfiniteCheck::check_rows(int64_t step, bool finite, const std::vector<int64_t>& bad_rows) {
  if (finite) {
    skipped_in_a_row_ = 0;
    return;
  }
  const std::string rows = describe_rows(bad_rows);
  stop_or_skip({.kind = "training diverged",
                .text = "the gradient of step " + std::to_string(step) +
                        " of item.table.pretrain_steps is not finite in " +
                        (rows.empty() ? "all item rows together" : rows),
                .advice = "Try a lower item.table.learning_rate, or"});
}

void NonfiniteCheck::stop_or_skip(const Finding& found) {
  ++skipped_in_a_row_;
  if (options_.train.on_nonfinite == OnNonfinite::kStop)
    throw NonfiniteError(found.kind + ": " + found.text + ". " + found.advice +
                         " leave such steps out by train.on_nonfinite=skip");
  if (skipped_in_a_row_ >= kMostSkipped)
    throw NonfiniteError("training stands still: " + std::to_string(skipped_in_a_row_) +
                         " steps in a row were skipped; the last: " + found.text);
  log_.note("skipped a step: " + found.text);
}

// "3 item rows (item 5, item 9, the unknown row)", those of all ranks. Every rank calls it.
std::string NonfiniteCheck::describe_rows(const std::vector<int64_t>& bad_rows) {
  std::vector<int64_t> rows = gather_records(bad_rows, *ranks_.control, "rows of a bad step");
  std::ranges::sort(rows);
  rows.erase(std::ranges::unique(rows).begin(), rows.end());
  if (rows.empty()) return "";
  std::vector<std::string> names;
  for (const int64_t row : rows) names.push_back(rows_of_items_.name(row));
  return std::to_string(rows.size()) + " item rows (" + joined(names, kMostRows) + ")";
}

// Every rank calls it. The model's gradients still hold the sums over ranks.
NonfiniteCheck::Finding NonfiniteCheck::describe(const Step& step) {
  std::vector<std::string> groups;
  const StepResult& result = step.result;
  const std::string rows = describe_rows(
      result.rows.defined() ? rows_not_finite(result.row_numbers, result.row_gradients)
                            : std::vector<int64_t>());
  if (!rows.empty()) groups.push_back(rows);
  for (const auto& entry : model_->named_parameters())
    if (!entry.value().grad().isfinite().all().item<bool>()) groups.push_back(entry.key());
  if (groups.empty()) groups.emplace_back("all parameters together");
  Suspects suspects = gather_suspects(step);
  // What else the step has read are the random items of the pool.
  if (suspects.item == kNone && suspects.users.empty()) suspects.item = first_bad_vector();
  Finding found{.kind = "training diverged",
                .text = "",
                .advice = std::string("Try a lower optimizer.learning_rate") +
                          (rows.empty() ? "" : ", a lower item.table.learning_rate") +
                          " or a longer optimizer.warmup_steps, look at the data of the users "
                          "named, or"};
  if (suspects.item != kNone) {
    const std::string& directory = dataset_.directory();
    found.kind = "training met bad data";
    found.text = directory + "/" + kItemsFile + ": dataset /item/vector, row " +
                 std::to_string(suspects.item) + " (item " + dataset_.item_id(suspects.item) +
                 ") is not finite, see `pinnerformer data validate " + directory + "`; ";
    found.advice = "Mend the dataset, or";
  }
  found.text +=
      "the gradient of step " + std::to_string(step.number) + " is not finite (norm " +
      c10::str(step.result.grad_norm.item<double>()) + ") in " + joined(groups, kMostGroups) +
      "; " +
      (suspects.users.empty() ? "no user of the step gives a NaN or infinity by itself"
                              : "users whose data give a NaN or infinity: " +
                                    joined(suspects.users, static_cast<size_t>(kMostUsers)));
  return found;
}

NonfiniteCheck::Suspects NonfiniteCheck::gather_suspects(const Step& step) {
  Communicator& control = *ranks_.control;
  const torch::Tensor& vectors = dataset_.item_vectors();
  // An item, then users.
  torch::Tensor mine = torch::full({1, 1 + kMostUsers}, kNone, torch::kInt64);
  if (vectors.defined()) mine[0][0] = first_bad(vectors, items_of(step.batch));
  int64_t named = 0;
  for (const int64_t row : bad_rows(model_, step.batch.inputs, step.result))
    if (named < kMostUsers) mine[0][++named] = step.batch.user[static_cast<size_t>(row)];
  torch::Tensor all = torch::empty({control.size(), 1 + kMostUsers}, torch::kInt64);
  const std::vector<int64_t> one_each(static_cast<size_t>(control.size()), 1);
  control.all_gather(all, mine, one_each, "item and users of a bad step")->wait();
  Suspects suspects;
  const auto told = all.accessor<int64_t, 2>();
  for (int64_t r = 0; r < control.size(); ++r) {
    if (const int64_t item = told[r][0]; item != kNone)
      suspects.item = suspects.item == kNone ? item : std::min(suspects.item, item);
    for (int64_t i = 1; i <= kMostUsers; ++i)
      if (told[r][i] != kNone) suspects.users.push_back(dataset_.user_id(told[r][i]));
  }
  return suspects;
}

// Every rank calls it. The coordinator searches all vectors, once: a dataset does not change.
int64_t NonfiniteCheck::first_bad_vector() {
  const torch::Tensor& vectors = dataset_.item_vectors();
  torch::Tensor item = torch::full({1}, kNone, torch::kInt64);
  if (ranks_.control->rank() == 0 && vectors.defined()) {
    if (!first_bad_vector_) first_bad_vector_ = first_bad_of_all(vectors);
    item.fill_(*first_bad_vector_);
  }
  ranks_.control->broadcast(item, /*root=*/0, "bad item vector")->wait();
  return item.item<int64_t>();
}

}  // namespace pinnerformer
