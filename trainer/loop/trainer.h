// THE LOOP: batches in, gradients summed over ranks, weights out, now and then a checkpoint.
#pragma once
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/agreement.h"
#include "comm/communicator.h"
#include "comm/gradients/gather_with_grad.h"
#include "comm/gradients/gradient_reducer.h"
#include "comm/options.h"
#include "comm/ranks.h"
#include "comm/watchdog/watchdog.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/data_loader.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/checkpoint/item_table_file.h"
#include "trainer/items/item_lookup.h"
#include "trainer/items/item_table.h"
#include "trainer/loop/metrics.h"
#include "trainer/loop/stop_condition.h"
#include "trainer/loop/stopwatch.h"
#include "trainer/model/model.h"
#include "trainer/objective/negative_sampler.h"
#include "trainer/objective/objective.h"
#include "trainer/optimizer/optimizer.h"
#include "trainer/options.h"

namespace pinnerformer {

// What to train on.
struct TrainingData {
  const Dataset* dataset = nullptr;
  UserSet users;
  PositiveMarker positives;
  TrainingPart part;
  DataOptions options;
};

class Trainer {
 public:
  // `config` is the resolved configuration, stored in every checkpoint. Everything behind the
  // pointers must outlive the trainer. All ranks pass equal values.
  Trainer(TrainingData data, TrainerOptions options, const CommOptions& comm, Ranks ranks,
          std::string config);

  // Goes on from the newest valid checkpoint of the run directory, if there is one; says so in the
  // log. Throws CheckpointError where that checkpoint is of another dataset or model.
  // `accept` may refuse the configuration stored in it by throwing.
  // `from` is a checkpoint elsewhere to begin with while the run directory has none of its own; one
  // inside the run directory must be its newest.
  void resume(const std::function<void(const std::string& stored_config)>& accept = {},
              const std::string& from = "");
  // Trains up to options.train.steps, or until `stop` asks all ranks to end after the same step;
  // leaves a checkpoint of the last step taken on the disk. True where all steps are done. A fresh
  // run with item.id_table.pretrain_steps trains the item rows alone first, and leaves a checkpoint
  // of step 0.
  bool train(const StopCondition& stop = {});

  struct StepTimes {
    std::vector<double> ms;
    double mean_window = 0;  // events of a user in a batch of this rank
  };
  // `steps` steps after `warmup` others, on batches that lie in memory. Weights move on, but
  // nothing is recorded or saved. Throws as train() does where a step fails. Every rank must call
  // it.
  StepTimes time_steps(int64_t warmup, int64_t steps);

  // Shapes of the parameters and the bucket plan: must be the same on all ranks.
  [[nodiscard]] std::vector<AgreedItem> layout() const;

  [[nodiscard]] PinnerFormer& model() { return model_; }
  [[nodiscard]] ItemTable* item_table() { return table_.get(); }  // null: there is none
  [[nodiscard]] int64_t step() const { return step_; }

 private:
  // What the loss of a step is made of, on this rank.
  struct StepInputs;
  torch::Tensor train_step(const TrainingBatch& batch);
  StepInputs step_inputs(const TrainingBatch& batch, const ObjectiveOptions& objective,
                         NegativeSampler& sampler, int64_t step);
  torch::Tensor backward(const Batch& inputs, const StepInputs& step);
  torch::Tensor loss(const Batch& inputs, const StepInputs& step,
                     const std::function<torch::Tensor()>& pool);
  torch::Tensor item_pool(const StepInputs& step);
  PendingGather start_pool(const torch::Tensor& mine, int64_t columns);
  torch::Tensor rows_of(const PendingGather& pool);
  void enter(const char* phase);
  void check_last_step();
  struct Nonfinite;
  [[nodiscard]] Nonfinite describe_nonfinite(const TrainingBatch& batch, const torch::Tensor& rows);
  [[nodiscard]] int64_t first_bad_vector();
  void receive_rows(StepInputs& step);
  void update_rows(double progress);
  void settle_rows(double progress);
  [[nodiscard]] bool pretrain_rows(const StopCondition& stop);
  torch::Tensor pretrain_loss(const StepInputs& step);
  [[nodiscard]] std::unique_ptr<DataLoader> make_loader(const ObjectiveOptions& objective) const;
  void settle(const DataFaults& faults, const TrainingBatch& batch);
  void require_positives(const GlobalPairs& global, int64_t users);
  void log_step();
  [[nodiscard]] bool stop_agreed(const StopCondition& stop);
  [[nodiscard]] bool on_any_rank(bool mine, const char* name);
  void save();
  void wait_for_writer();
  void start_writer();
  void look_after_writer(std::chrono::milliseconds patience);
  [[nodiscard]] std::optional<std::string> choose_checkpoint(const std::string& from,
                                                             MetricsLog& log);
  [[nodiscard]] std::map<std::string, torch::Tensor> training_state();
  void restore(const std::string& path, const Checkpoint& checkpoint);
  void share_state();
  void check_rows(const std::string& path, const CheckpointInfo& info);
  [[nodiscard]] bool coordinator() const { return ranks_.control->rank() == 0; }

  TrainingData data_;
  TrainerOptions options_;
  Ranks ranks_;
  std::string config_;
  std::string contract_;  // data.json, on the coordinator from train() on
  PinnerFormer model_;
  ItemRows rows_of_items_;
  std::unique_ptr<ItemTable> table_;             // null: items have no learned rows
  std::unique_ptr<ItemTableSaver> table_saver_;  // where there is a table
  NegativeSampler sampler_;
  std::unique_ptr<GradientReducer> reducer_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<DataLoader> loader_;        // from train() on
  std::unique_ptr<MetricsLog> log_;           // on the coordinator, from train() on
  std::unique_ptr<CheckpointWriter> writer_;  // likewise
  std::exception_ptr save_error_;             // what writer_ met

  int64_t step_ = 0;  // steps taken
  bool resumed_ = false;
  LoaderPosition position_;          // where the data stands after them
  int64_t samples_ = 0;              // users consumed
  int64_t saved_step_ = -1;          // of the newest checkpoint
  int64_t users_without_pairs_ = 0;  // consumed since the last user with a pair
  // Since the last record:
  torch::Tensor loss_sum_;                            // of this rank's parts
  int64_t skipped_since_ = 0, skipped_in_a_row_ = 0;  // steps whose gradient was not finite
  torch::Tensor grad_norm_;                           // of the last step
  // What the last step read, until its norm has been looked at: the batch, its learned rows.
  std::optional<std::pair<TrainingBatch, torch::Tensor>> unchecked_;
  // On the coordinator, once looked for: the first item whose vector is not finite, or -1.
  std::optional<int64_t> first_bad_vector_;
  int64_t steps_since_ = 0, users_since_ = 0, skipped_users_since_ = 0;
  Stopwatch clock_, data_wait_, comm_wait_, save_stall_;
  // Since the last checkpoint: the logged loss times the steps it is the mean of, and those steps.
  double loss_since_save_ = 0;
  int64_t logged_since_save_ = 0;
  StopCondition::Clock::time_point step_begin_ = StopCondition::Clock::now();
};

}  // namespace pinnerformer
