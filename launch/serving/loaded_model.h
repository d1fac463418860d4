// The model of a checkpoint with its dataset, loaded for evaluation and serving.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/vectors/embedding_file.h"
#include "launch/cli/cli.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/data_contract.h"
#include "trainer/checkpoint/stored_item_table.h"
#include "trainer/evaluation/retrieval_method.h"
#include "trainer/model/model.h"

namespace pinnerformer {

// Options of the commands that use a model.
struct LoadedModelOptions {
  std::string run;         // run directory: its newest valid checkpoint
  std::string checkpoint;  // or one checkpoint: its directory, or a step of `run`
  std::vector<std::string> overrides;
  bool print_config = false;
};
void add_model_options(CommandLine& cli, LoadedModelOptions* options);

// Prints the checkpoint's configuration with the overrides where that was asked for: the command
// has nothing left to do. Throws what LoadedModel() throws.
[[nodiscard]] bool printed_config(const LoadedModelOptions& options);

// Which dataset a command may use a model with.
enum class DataUse {
  kTrainingData,  // the one it was trained on: evaluation, whose split depends on it
  kAnyThatFits,   // any that keeps the model's DataContract: later events, new users and items
};

// A checkpoint with its path.
struct NamedCheckpoint {
  std::string path;
  Checkpoint content;
};

class LoadedModel {
 public:
  // Warns on stderr where newer checkpoints of the run are damaged.
  // Throws UsageError, CheckpointError (no valid checkpoint; another dataset), DataError (a dataset
  // that breaks the contract).
  LoadedModel(const LoadedModelOptions& options, DataUse use);

  [[nodiscard]] const RunConfig& config() const { return config_; }
  [[nodiscard]] const Dataset& dataset() const { return dataset_; }
  [[nodiscard]] const CheckpointInfo& checkpoint() const { return checkpoint_.info; }
  [[nodiscard]] const std::string& path() const { return path_; }
  // Run, checkpoint and step, which every result names.
  [[nodiscard]] EmbeddingSource source() const;
  [[nodiscard]] std::string source_note() const;  // a line for people

  // Version of all vectors of this model.
  [[nodiscard]] EmbeddingVersion version() const;

  // Builds the model on `device`, in evaluation mode.
  void load_model(torch::Device device);
  // Items that read the unknown row of the item table; known after load_model(). The note is a
  // line of text, empty where there are none.
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
  LoadedModel(NamedCheckpoint named, const LoadedModelOptions& options, DataUse use);
  void require_data(DataUse use);
  // Replaces actions and surfaces of the dataset by those the model was trained with.
  void translate(Batch* batch) const;

  std::string path_;
  Checkpoint checkpoint_;
  RunConfig stored_config_;
  RunConfig config_;  // with the overrides
  Dataset dataset_;
  DataContract contract_;
  torch::Tensor action_index_, surface_index_;  // int64, index in the dataset -> in the model
  std::optional<StoredItemTable> item_table_;   // where the model has one, from load_model() on
  PinnerFormer model_{nullptr};

  [[nodiscard]] torch::Tensor learned_rows(const torch::Tensor& items) const;  // [...] -> [..., E]
};

}  // namespace pinnerformer
