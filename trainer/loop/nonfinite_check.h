// Looks at the gradient of every step: a NaN or an infinity comes from the data, or from a run that
// diverges.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/ranks.h"
#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/batch.h"
#include "trainer/items/item_lookup.h"
#include "trainer/loop/step_log.h"
#include "trainer/loop/training_step.h"
#include "trainer/model/model.h"
#include "trainer/options.h"

namespace pinnerformer {

// Training must not go on. Thrown on all ranks together; weights and rows are those from before the
// last step.
struct NonfiniteError : DataError {
  using DataError::DataError;
};

// A gradient that is not finite has changed nothing (TrainingStep); this decides whether the run
// goes on. Reading the norm one step late costs no wait: the device has it when the host has
// prepared the next step.
class NonfiniteCheck {
 public:
  // The references must outlive the check.
  NonfiniteCheck(const TrainerOptions& options, const Ranks& ranks, const Dataset& dataset,
                 PinnerFormer model, StepLog& log);

  // Keeps what the step read until check(). `step` counts from 1.
  void watch(int64_t step, const TrainingBatch& batch, const StepResult& result);
  // Waits for the step given to watch(), if one was. Where its gradient is not finite: with
  // train.on_nonfinite = stop throws NonfiniteError with what is known of the reason; with skip
  // notes it, and throws where 100 steps in a row were skipped. Every rank must call it.
  void check();
  // The same, at once, of step `step` (from 1) of the item rows alone, whose gradients were
  // `finite` on all ranks or not; `bad_rows`: rows_not_finite() of this rank.
  void check_rows(int64_t step, bool finite, const std::vector<int64_t>& bad_rows);

 private:
  struct Step {
    int64_t number = 0;
    TrainingBatch batch;
    StepResult result;
  };
  // What the data of a bad step hold, on all ranks.
  struct Suspects {
    int64_t item = -1;               // the first whose content vector is not finite; -1: none
    std::vector<std::string> users;  // ids, those whose output of the transformer is not finite
  };
  // For people.
  struct Finding {
    std::string kind;    // "training diverged"
    std::string text;    // which gradient, of what
    std::string advice;  // what to try
  };
  [[nodiscard]] Finding describe(const Step& step);
  void stop_or_skip(const Finding& found);
  [[nodiscard]] std::string describe_rows(const std::vector<int64_t>& bad_rows);
  [[nodiscard]] Suspects gather_suspects(const Step& step);
  [[nodiscard]] int64_t first_bad_vector();

  const TrainerOptions& options_;
  Ranks ranks_;
  const Dataset& dataset_;
  ItemRows rows_of_items_;
  PinnerFormer model_;
  StepLog& log_;
  std::optional<Step> unchecked_;
  int64_t skipped_in_a_row_ = 0;
  // On the coordinator, once searched for: the first item whose vector is not finite, or -1.
  std::optional<int64_t> first_bad_vector_;
};

}  // namespace pinnerformer
