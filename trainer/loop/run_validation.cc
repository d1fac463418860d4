#include "trainer/loop/run_validation.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "comm/communicator.h"
#include "comm/rows/row_exchange.h"
#include "dataloader/base/slice.h"
#include "dataloader/sampling/batch.h"
#include "trainer/evaluation/prefix_batch.h"
#include "trainer/items/item_lookup.h"
#include "trainer/loop/training_step.h"

namespace pinnerformer {
namespace {

// Item rows and vectors that one collective call moves: bounds its memory and number of elements.
constexpr int64_t kRowsAtOnce = 65536;

torch::Tensor rows_of_items(const ItemTableOptions& options, const Dataset& dataset) {
  const ItemRows rows(options, dataset);
  torch::Tensor of_item = torch::empty({dataset.items()}, torch::kInt64);
  for (int64_t item = 0; item < dataset.items(); ++item)
    of_item.data_ptr<int64_t>()[item] = rows.row(item);
  return of_item;
}

// Whether a row was ever updated, bool [R] of all ranks.
torch::Tensor updated_rows(const ItemTable& table, Communicator& comm) {
  torch::Tensor updates = torch::zeros({table.rows()}, torch::kInt32);
  const OwnedRows& owned = table.owned();
  updates.slice(0, owned.first, c10::nullopt, owned.stride)
      .copy_(table.model_state().at("updates"));
  if (owned.stride > 1) comm.all_reduce(updates, "updated item rows")->wait();
  return updates > 0;
}

std::string note_of(const ValidationResult& result, const BestStep& best, double seconds) {
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(),
                "validation: R@10 %.4f  NDCG@10 %.4f  of %lld positives of %lld users, in %.1f s; "
                "best %.4f at step %lld",
                result.metrics.recall_at_10, result.metrics.ndcg_at_10,
                static_cast<long long>(result.positives), static_cast<long long>(result.users),
                seconds, best.recall_at_10, static_cast<long long>(best.step));
  return text.data();
}

}  // namespace

RunValidation::RunValidation(const TrainingData& data, const TrainerOptions& options,
                             const Ranks& ranks, PinnerFormer model, ItemTable* table)
    : data_(data), options_(options), ranks_(ranks), model_(std::move(model)), table_(table) {
  if (options.validate.every_steps == 0) return;
  const std::vector<int64_t>& windows = options.model.prior_days;
  if (!windows.empty())
    prior_.emplace(*data.dataset, data.held_out.positives,
                   prior_span(*data.dataset, data.held_out.split, /*delay_days=*/0), windows,
                   *ranks.control);
  if (table != nullptr) row_of_item_ = rows_of_items(options.item.table, *data.dataset);
  require_cases(inputs());
}

bool RunValidation::due(int64_t step) const {
  const int64_t every = options_.validate.every_steps;
  return every > 0 && (step % every == 0 || step == options_.train.steps);
}

EvaluationInputs RunValidation::inputs() const {
  const HeldOutOptions& held_out = data_.held_out;
  return {.dataset = *data_.dataset,
          .positives = held_out.positives,
          .split = held_out.split,
          .evaluate = held_out.evaluate,
          .seed = options_.run.seed,
          .comm = *ranks_.control,
          .progress = {},
          .part = HeldOut::kValidation};
}

bool RunValidation::run(RunProgress& progress, StepLog& log) {
  enter_phase(ranks_, progress.step, "validation");
  const torch::NoGradGuard no_grad;
  Stopwatch whole, clock;
  model_->eval();
  read_rows();
  EncoderMethod method(
      "model", [this](const std::vector<HistoryPrefix>& users) { return user_vectors(users); },
      all_item_vectors());
  const ValidationResult result = clock.time([&] { return validate(inputs(), method); });
  model_->train();
  rows_ = torch::Tensor();
  const bool better =
      progress.best.step < 0 || result.metrics.recall_at_10 > progress.best.recall_at_10;
  if (better)
    progress.best = {progress.step, result.metrics.recall_at_10, 0};
  else
    ++progress.best.validations_since;
  log.add_validation(result);
  log.note(note_of(result, progress.best, clock.spent_ms() / 1000));
  seconds_ = whole.elapsed_ms() / 1000;
  return better;
}

bool RunValidation::patience_spent(const RunProgress& progress) const {
  const ValidateOptions& validate = options_.validate;
  return validate.every_steps > 0 && validate.patience > 0 &&
         progress.best.validations_since >= validate.patience;
}

// All rows of the table; a row that no step has updated is the unknown row, as in evaluation.
void RunValidation::read_rows() {
  if (table_ == nullptr) return;
  if (table_->owned().stride == 1) {
    rows_ = table_->model_state().at("rows").to(torch::kCPU, torch::kFloat32,
                                                /*non_blocking=*/false, /*copy=*/true);
  } else {
    rows_ = torch::empty({table_->rows(), table_->width()});
    for (int64_t first = 0; first < table_->rows(); first += kRowsAtOnce) {
      const int64_t end = std::min(first + kRowsAtOnce, table_->rows());
      const torch::Tensor wanted = torch::arange(first, end);
      const torch::Tensor ordered =
          wanted.index_select(0, order_by_owner(wanted, table_->owned().stride));
      table_->request(ordered);
      rows_.index_copy_(0, ordered, table_->receive().cpu());
    }
  }
  const torch::Tensor untrained = updated_rows(*table_, *ranks_.control).logical_not();
  rows_.index_put_({untrained}, rows_[-1].clone());
}

torch::Tensor RunValidation::item_vectors(int64_t first, int64_t count) {
  if (count == 0) return torch::empty({0, options_.model.output});
  torch::Tensor rows;
  if (table_ != nullptr)
    rows = rows_.index_select(0, row_of_item_.narrow(0, first, count)).to(ranks_.device);
  const torch::Tensor items = torch::arange(first, first + count);
  return model_->item_embedding(items.to(ranks_.device), rows).cpu();
}

// Every rank computes its share of each block of items.
torch::Tensor RunValidation::all_item_vectors() {
  const int64_t count = data_.dataset->items();
  Communicator& comm = *ranks_.control;
  torch::Tensor all = torch::empty({count, options_.model.output});
  for (int64_t first = 0; first < count; first += kRowsAtOnce) {
    const int64_t block = std::min(kRowsAtOnce, count - first);
    const Slice share = rank_slice(block, comm.rank(), comm.size());
    comm.all_gather(all.narrow(0, first, block), item_vectors(first + share.first, share.count),
                    slice_counts(block, comm.size()), "item vectors")
        ->wait();
  }
  if (prior_) all = prior_->append_to_items(all, torch::arange(count));
  return all.to(ranks_.device);  // scores are computed there
}

torch::Tensor RunValidation::user_vectors(const std::vector<HistoryPrefix>& prefixes) {
  const Batch batch = prefix_batch(prefixes, options_.model.max_length);
  torch::Tensor id_rows;
  if (table_ != nullptr) {
    const torch::Tensor row = row_of_item_.index_select(0, batch.item.flatten());
    id_rows = torch::embedding(rows_, row.view_as(batch.item)).to(ranks_.device);
  }
  const torch::Tensor vectors = model_->user_embedding(batch.to(ranks_.device), id_rows).cpu();
  return prior_ ? prior_->append_to_users(vectors, prefixes, model_->scaled_prior_weights())
                : vectors;
}

}  // namespace pinnerformer
