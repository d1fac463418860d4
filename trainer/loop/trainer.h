// The training loop: loader -> plan -> inputs -> loss -> gradients -> update -> log, step by step,
// and a checkpoint every so many steps.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/agreement.h"
#include "comm/options.h"
#include "comm/ranks.h"
#include "trainer/items/item_table.h"
#include "trainer/loop/nonfinite_check.h"
#include "trainer/loop/run_checkpoints.h"
#include "trainer/loop/step_log.h"
#include "trainer/loop/step_plan.h"
#include "trainer/loop/step_profile.h"
#include "trainer/loop/step_trace.h"
#include "trainer/loop/stop_condition.h"
#include "trainer/loop/training_data.h"
#include "trainer/loop/training_step.h"
#include "trainer/model/model.h"
#include "trainer/options.h"

namespace pinnerformer {

// One per rank. Every rank must make the same calls.
class Trainer {
 public:
  // `config` is the resolved configuration, stored in every checkpoint. Everything behind the
  // pointers must outlive the trainer. All ranks pass equal values.
  Trainer(TrainingData data, TrainerOptions options, const CommOptions& comm, Ranks ranks,
          std::string config);

  // Continues from the newest valid checkpoint of the run directory, if there is one; says so in
  // the log. Throws CheckpointError where that checkpoint is of another dataset or model.
  // `accept` may refuse the configuration stored in it by throwing.
  // `from` is a checkpoint elsewhere to begin with while the run directory has none of its own; one
  // inside the run directory must be its newest.
  void resume(const std::function<void(const std::string& stored_config)>& accept = {},
              const std::string& from = "");
  // Begins with the weights and item rows of the checkpoint `from`, read on rank 0, which may be of
  // another dataset: rows are found by item, and new items, actions and surfaces begin as in a
  // fresh run. Moments, the learning rate's schedule and the order of the data are those of a fresh
  // run. Does nothing where the run was resumed. Throws CheckpointError or DataError where the
  // weights or content vectors do not fit; `accept` as above.
  void init_from(const std::function<void(const std::string& stored_config)>& accept,
                 const std::string& from);
  // Trains up to options.train.steps, or until `stop` ends all ranks after the same step; leaves a
  // checkpoint of the last step taken on the disk. True where all steps are done. A fresh run with
  // item.table.pretrain_steps and without init_from() trains the item rows alone first, and leaves
  // a checkpoint of step 0. Throws NonfiniteError where a gradient ends the training: a checkpoint
  // of the steps before, if there were any, is then on the disk, and the message names it.
  // `profiled` asks for a trace of some steps of this rank.
  bool train(const StopCondition& stop = {}, const ProfileRequest& profiled = {});

  struct StepTimes {
    std::vector<double> ms;
    double mean_window = 0;  // events of a user in a batch of this rank
  };
  // `steps` steps after `warmup` others, on batches that lie in memory. Weights change, but nothing
  // is recorded or saved. Throws as train() does where a step fails.
  StepTimes time_steps(int64_t warmup, int64_t steps);

  // Trains from a fresh start, in memory and without records, up to the first step from
  // `first_step` (>= 1) on that has a sample of `user` (a row of the dataset), and returns what
  // that step did with it: the numbers of train() on one rank, without item.table.pretrain_steps.
  // For one rank. Throws DataError where no step of two epochs, up to train.steps, has a sample of
  // the user.
  [[nodiscard]] StepTrace trace_step(int64_t user, int64_t first_step);

  // Shapes of the parameters and the bucket plan: must be the same on all ranks.
  [[nodiscard]] std::vector<AgreedItem> layout();

  [[nodiscard]] PinnerFormer& model() { return model_; }
  [[nodiscard]] ItemTable* item_table() { return table_.get(); }  // null: there is none
  [[nodiscard]] int64_t step() const { return progress_.step; }
  [[nodiscard]] bool resumed() const { return checkpoints_.resumed(); }
  [[nodiscard]] const RunProgress& progress() const { return progress_; }

 private:
  // `before` becomes the state before the newest step.
  [[nodiscard]] bool train_steps(const StopCondition& stop, const ProfileRequest& profiled,
                                 RunProgress& before);
  // True where all steps are done, or the training ended early.
  [[nodiscard]] bool end_training(bool early);
  [[noreturn]] void save_step_before(const RunProgress& before, const NonfiniteError& error);
  [[nodiscard]] std::unique_ptr<DataLoader> open_loader(LoaderPosition position);
  // Nothing where a rank asked to stop: no rank takes the step.
  std::optional<StepResult> train_step(const TrainingBatch& batch, NonfiniteCheck& nonfinite,
                                       RankRequests requests = {});
  StepTrace trace_sample_of(const TrainingBatch& batch, int64_t row);
  [[nodiscard]] bool pretrain_rows(const StopCondition& stop);
  [[nodiscard]] RankRequests own_requests(const StopCondition& stop, StopClock& clock,
                                          double after_seconds);
  [[nodiscard]] bool must_stop(RankRequests requests);
  void note_settings();

  TrainingData data_;
  TrainerOptions options_;
  Ranks ranks_;
  PinnerFormer model_;
  torch::Tensor host_vectors_;        // PinnerFormer::vectors_on_host()
  std::unique_ptr<ItemTable> table_;  // null: items have no learned rows
  StepLog log_;
  StepPlanner planner_;
  TrainingStep step_;
  RunCheckpoints checkpoints_;
  RunProgress progress_;
  int64_t first_step_ = 0;  // where train() began
};

}  // namespace pinnerformer
