// Validation while a run trains: its quality on held-out cases every so many steps, the best step
// so far, and when to stop.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "comm/ranks.h"
#include "trainer/evaluation/prior_columns.h"
#include "trainer/evaluation/validation.h"
#include "trainer/items/item_table.h"
#include "trainer/loop/step_log.h"
#include "trainer/loop/training_data.h"
#include "trainer/model/model.h"
#include "trainer/options.h"

namespace pinnerformer {

// The metric is recall@10, which is the hit rate under leave_one_out. Every rank must make the same
// calls, and all get the same results for any number of ranks.
class RunValidation {
 public:
  // `table` is null where items have no learned rows. Everything behind a pointer or reference must
  // outlive this. Collective. Throws DataError where there is nothing to validate.
  RunValidation(const TrainingData& data, const TrainerOptions& options, const Ranks& ranks,
                PinnerFormer model, ItemTable* table);

  // Whether this step is one to validate after.
  [[nodiscard]] bool due(int64_t step) const;
  // Evaluates the model as it is, notes it in progress.best and in the log. True where it is the
  // best so far.
  bool run(RunProgress& progress, StepLog& log);
  // Whether validate.patience validations in a row were no better than the best.
  [[nodiscard]] bool patience_spent(const RunProgress& progress) const;
  // How long the last validation took; 0 before the first.
  [[nodiscard]] double seconds() const { return seconds_; }

 private:
  [[nodiscard]] EvaluationInputs inputs() const;
  [[nodiscard]] torch::Tensor item_vectors(int64_t first, int64_t count);
  [[nodiscard]] torch::Tensor all_item_vectors();
  [[nodiscard]] torch::Tensor user_vectors(const std::vector<HistoryPrefix>& prefixes);
  void read_rows();

  const TrainingData& data_;
  const TrainerOptions& options_;
  Ranks ranks_;
  PinnerFormer model_;
  ItemTable* table_;
  std::optional<PriorColumns> prior_;
  double seconds_ = 0;
  torch::Tensor row_of_item_;  // int64 [I], with a table
  torch::Tensor rows_;         // float32 [R, E] of all ranks, during a validation
};

}  // namespace pinnerformer
