// A finished or running training, opened for use: its newest checkpoint, its dataset, its model.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "dataloader/dataset.h"
#include "dataloader/vector_file.h"
#include "launch/cli.h"
#include "trainer/checkpoint.h"
#include "trainer/data_contract.h"
#include "trainer/stored_item_table.h"
#include "trainer/model.h"
#include "trainer/retrieval_method.h"

namespace pinnerformer {

// How the commands that use a model name it.
struct TrainedRunOptions {
  std::string run;         // run directory: its newest valid checkpoint
  std::string checkpoint;  // or one checkpoint
  std::vector<std::string> overrides;
  bool print_config = false;
};
void add_trained_run_options(CommandLine& cli, TrainedRunOptions* options);

// Prints the checkpoint's configuration with the overrides where that was asked for: the command
// has nothing left to do. Throws what TrainedRun() throws.
[[nodiscard]] bool printed_config(const TrainedRunOptions& options);

// Which dataset a command may use a model with.
enum class DataUse {
  kTrainingData,  // the one it was trained on: evaluation, whose split depends on it
  kAnyThatFits,   // any that keeps the model's DataContract: later events, new users and items
};

class TrainedRun {
 public:
  // Throws UsageError, CheckpointError (no valid checkpoint; another dataset), DataError (a dataset
  // that breaks the contract).
  TrainedRun(const TrainedRunOptions& options, DataUse use);

  [[nodiscard]] const RunConfig& config() const { return config_; }
  [[nodiscard]] const Dataset& dataset() const { return dataset_; }
  [[nodiscard]] const CheckpointInfo& checkpoint() const { return checkpoint_.info; }
  [[nodiscard]] const std::string& path() const { return path_; }

  // Of all vectors this model makes.
  [[nodiscard]] VectorVersion version() const;

  // Builds the model on `device`, in evaluation mode.
  void load_model(torch::Device device);
  // Items that read the unknown row of the item table; known from load_model() on. The note is a
  // line for people, empty where there are none.
  [[nodiscard]] int64_t unknown_items() const;
  [[nodiscard]] std::string unknown_items_note() const;
  // Unit vectors of all items, [I, D] on the CPU; or of `count` items from row `first` on.
  [[nodiscard]] torch::Tensor item_vectors();
  [[nodiscard]] torch::Tensor item_vectors(int64_t first, int64_t count);
  // Unit vectors of users with these histories, [n, D] on the CPU. Each has at least one event.
  [[nodiscard]] torch::Tensor user_vectors(const std::vector<HistoryPrefix>& prefixes);
  // The same for whole timelines.
  [[nodiscard]] torch::Tensor user_vectors(const std::vector<Timeline>& timelines);

 private:
  void require_data(DataUse use);
  // From the dataset's rows and names to those the model was trained with.
  void translate(Batch* batch) const;

  std::string path_;
  Checkpoint checkpoint_;
  RunConfig stored_config_;
  RunConfig config_;  // with the overrides
  Dataset dataset_;
  DataContract contract_;
  torch::Tensor action_index_, surface_index_;  // int64, index in the dataset -> in the model
  std::optional<StoredItemTable> item_table_;  // where the model has one, from load_model() on
  PinnerFormer model_{nullptr};

  [[nodiscard]] torch::Tensor learned_rows(const torch::Tensor& items) const;  // [...] -> [..., E]
};

}  // namespace pinnerformer
