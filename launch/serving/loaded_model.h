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
#include "trainer/evaluation/prior_columns.h"
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
// With `runs`, --run may be given more than once and goes there.
void add_model_options(CommandLine& cli, LoadedModelOptions* options,
                       std::vector<std::string>* runs = nullptr);

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

  // Builds the model on `device`, in evaluation mode. With model.prior_days every rank must call
  // it: they count the positives together. Vectors are then made for times up to the end of the
  // evaluation windows (kTrainingData), or for the dataset's last second alone (kAnyThatFits).
  void load_model(torch::Device device, Communicator& comm);
  // Items that read the unknown row of the item table; known after load_model(). The note is a
  // line of text, empty where there are none.
  [[nodiscard]] int64_t unknown_items() const;
  [[nodiscard]] std::string unknown_items_note() const;
  // Width of the vectors: model.output, and with a popularity prior a column for each number of
  // days and each day for which vectors are made.
  [[nodiscard]] int64_t dimensions() const;
  // Vectors of all items, [I, dimensions()] on the CPU; or of `count` items from row `first` on.
  // The dot product with a user's vector is the model's score times its temperature. Of norm 1 with
  // model.similarity=cosine and without a prior.
  [[nodiscard]] torch::Tensor item_vectors();
  // The same on every rank, of which each computes a share. Every rank must call it.
  [[nodiscard]] torch::Tensor item_vectors(Communicator& comm);
  [[nodiscard]] torch::Tensor item_vectors(int64_t first, int64_t count);
  // Numbers of a user in a vector file: dimensions() for each of model.user_vectors.
  [[nodiscard]] int64_t user_width() const;
  // From now on vectors of users are those for items of this topic, with model.condition=topic.
  // Throws ConfigError where the model has no condition, DataError where it does not know the
  // topic.
  void condition_on(const std::string& topic);
  // Vectors of users with these histories, on the CPU: [n, dimensions()], or [n, K, dimensions()]
  // with model.user_vectors = K above 1. Each has at least one event.
  [[nodiscard]] torch::Tensor user_vectors(const std::vector<HistoryPrefix>& prefixes);
  // The same for whole timelines.
  [[nodiscard]] torch::Tensor user_vectors(const std::vector<Timeline>& timelines);

  // The same of timelines that go on from `states`, which move on: events later than a state's time
  // are read, and of a user without a state the newest model.max_length. Rows of users without
  // such events stay zero, and their states as they are.
  [[nodiscard]] torch::Tensor user_vectors(const std::vector<Timeline>& timelines,
                                           UserStates& states);

  // Whether data.path is the dataset that the model was trained on.
  [[nodiscard]] bool is_training_data() const {
    return checkpoint_.info.dataset_fingerprint == dataset_.fingerprint();
  }
  // What the vectors are made of, for an export; the model and the rows from load_model() on.
  [[nodiscard]] const DataContract& contract() const { return contract_; }
  [[nodiscard]] ModelInputs inputs() const;
  [[nodiscard]] PinnerFormer& model() { return model_; }
  // Learned rows of these items, int64 [...] -> [..., E], and the row [E] of an item that the model
  // does not know; undefined without an item table.
  [[nodiscard]] torch::Tensor id_rows(const torch::Tensor& items) const;
  [[nodiscard]] torch::Tensor unknown_id_row() const;
  // What the towers of an export read as learned rows of these items, on the CPU: the rows, and
  // with item.semantic_ids the sums of their code rows behind them. Of width 0 where there is
  // neither.
  [[nodiscard]] torch::Tensor tower_rows(const torch::Tensor& items);
  [[nodiscard]] torch::Tensor unknown_tower_row() const;

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
  int64_t topic_ = -1;                          // see condition_on(); -1: none
  torch::Tensor action_index_, surface_index_;  // int64, index in the dataset -> in the model
  DataUse use_;
  std::optional<StoredItemTable> item_table_;  // where the model has one, from load_model() on
  std::optional<PriorColumns> prior_;          // with model.prior_days, from load_model() on
  PinnerFormer model_{nullptr};
};

}  // namespace pinnerformer
