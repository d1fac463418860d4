// One step: inputs -> loss -> gradients summed over ranks -> new weights.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "comm/gradients/gather_with_grad.h"
#include "comm/gradients/gradient_reducer.h"
#include "comm/options.h"
#include "comm/ranks.h"
#include "trainer/items/item_table.h"
#include "trainer/loop/step_flops.h"
#include "trainer/loop/step_inputs.h"
#include "trainer/loop/wait_timer.h"
#include "trainer/model/model.h"
#include "trainer/optimizer/optimizer.h"
#include "trainer/options.h"

namespace pinnerformer {

// Scalars on the device; reading one waits for the device.
struct StepResult {
  torch::Tensor loss;  // this rank's part of the global loss; 0 where the gradient is not finite
  // Global norm of the gradient before clipping, equal on all ranks. That of item rows is no part
  // of it, but makes it NaN where it is not finite.
  torch::Tensor grad_norm;
  // With an item table:
  torch::Tensor rows;           // float32 [U, E] item rows that the step read
  torch::Tensor row_gradients;  // float32 [U, E] of them, of this rank
  torch::Tensor row_numbers;    // int64 [U] in the table, on the CPU
  torch::Tensor input_lookup;   // int64 [B, S] the batch's items in `rows`
  double flops = 0;             // of this rank: see StepFlops
  bool has_pairs = true;        // on any rank; without, the loss is 0
};

class TrainingStep {
 public:
  // `table` is null where items have no learned rows; `comm_wait` adds up the time spent waiting
  // for other ranks. Everything behind a pointer or reference must outlive the step.
  TrainingStep(const TrainerOptions& options, const CommOptions& comm, const Ranks& ranks,
               PinnerFormer model, ItemTable* table, WaitTimer& comm_wait);

  // Takes step number `step` (from 0) on this rank's part of a global batch. A gradient that is not
  // finite changes nothing. Every rank must call it.
  StepResult run(StepInputs inputs, int64_t step);

  // Everything of the loss but the pool: embeddings of users [P, D] and positives [P, D], and the
  // temperature.
  [[nodiscard]] SoftmaxInputs embed(const StepInputs& inputs);
  // This rank's share of the pool's embeddings, [n, D].
  [[nodiscard]] torch::Tensor embed_pool(const StepInputs& inputs);

  [[nodiscard]] Optimizer& optimizer() { return optimizer_; }
  [[nodiscard]] const std::vector<Bucket>& bucket_plan() const { return reducer_.plan(); }

 private:
  void receive_rows(StepInputs& inputs);
  torch::Tensor backward(const StepInputs& inputs, int64_t step);
  [[nodiscard]] PendingGather start_pool(const StepInputs& inputs);
  torch::Tensor update(const StepInputs& inputs, int64_t step);

  const TrainerOptions& options_;
  Ranks ranks_;
  PinnerFormer model_;
  ItemTable* table_;
  WaitTimer& comm_wait_;
  bool bf16_;
  GradientReducer reducer_;
  Optimizer optimizer_;
  StepFlops flops_;
};

// Tells the watchdog, where there is one, and a trace, where one is recorded, what this rank does.
// `step` counts from 0.
void enter_phase(const Ranks& ranks, int64_t step, const char* phase);

}  // namespace pinnerformer
