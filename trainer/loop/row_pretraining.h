// Item rows trained before the model: for a user at an event, the row of its item must find the row
// of the next positive among those of the pool.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <memory>

#include "comm/gradients/gather_with_grad.h"
#include "comm/ranks.h"
#include "dataloader/sampling/data_loader.h"
#include "trainer/items/item_table.h"
#include "trainer/loop/nonfinite_check.h"
#include "trainer/loop/step_inputs.h"
#include "trainer/loop/step_log.h"
#include "trainer/loop/step_plan.h"
#include "trainer/loop/training_data.h"
#include "trainer/options.h"

namespace pinnerformer {

// The item.table.pretrain_steps steps are numbered -N .. -1, so that their draws are none of the
// main run's.
class RowPretraining {
 public:
  // Everything behind a reference must outlive this.
  RowPretraining(const TrainingData& data, const TrainerOptions& options, const Ranks& ranks,
                 ItemTable& table, NonfiniteCheck& nonfinite, StepLog& log);

  // Takes no step where a rank requests something; returns what any rank requests. A gradient that
  // is not finite changes no row, and is for NonfiniteCheck to judge. Every rank must call it.
  RankRequests run(int64_t step, RankRequests requests);

 private:
  torch::Tensor loss_of(const StepInputs& inputs);
  bool update(const StepInputs& inputs, int64_t taken);
  void note_loss(const torch::Tensor& loss, int64_t taken);

  TrainerOptions options_;  // those of the run, without the popularity prior
  Ranks ranks_;
  ItemTable& table_;
  NonfiniteCheck& nonfinite_;
  StepLog& log_;
  StepPlanner planner_;
  std::unique_ptr<DataLoader> loader_;
};

}  // namespace pinnerformer
