// A finished or running training, opened for use: its newest checkpoint, its dataset, its model.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "dataloader/dataset.h"
#include "launch/cli.h"
#include "trainer/checkpoint.h"
#include "trainer/item_table_file.h"
#include "trainer/model.h"
#include "trainer/retrieval_method.h"

namespace pinnerformer {

// How the commands that use a model name it.
struct TrainedRunOptions {
  std::string run;         // run directory: its newest valid checkpoint
  std::string checkpoint;  // or one checkpoint
  std::vector<std::string> overrides;
};
void add_trained_run_options(CommandLine& cli, TrainedRunOptions* options);

class TrainedRun {
 public:
  // Throws UsageError, CheckpointError (no valid checkpoint; another dataset), DataError.
  explicit TrainedRun(const TrainedRunOptions& options);

  [[nodiscard]] const RunConfig& config() const { return config_; }
  [[nodiscard]] const Dataset& dataset() const { return dataset_; }
  [[nodiscard]] const CheckpointInfo& checkpoint() const { return checkpoint_.info; }
  [[nodiscard]] const std::string& path() const { return path_; }

  // Names the weights of both towers and the content vectors: vectors of different versions must
  // not be compared.
  [[nodiscard]] std::string version() const;

  // Builds the model on `device`, in evaluation mode.
  void load_model(torch::Device device);
  // Items that read the unknown row of the item table; known from load_model() on. The note is a
  // line for people, empty where there are none.
  [[nodiscard]] int64_t unknown_items() const;
  [[nodiscard]] std::string unknown_items_note() const;
  // Unit vectors of all items, [I, D] on the CPU.
  [[nodiscard]] torch::Tensor item_vectors();
  // Unit vectors of users with these histories, [n, D] on the CPU. Each has at least one event.
  [[nodiscard]] torch::Tensor user_vectors(const std::vector<HistoryPrefix>& prefixes);
  // The same for whole timelines.
  [[nodiscard]] torch::Tensor user_vectors(const std::vector<Timeline>& timelines);

 private:
  std::string path_;
  Checkpoint checkpoint_;
  RunConfig stored_config_;
  RunConfig config_;  // with the overrides
  Dataset dataset_;
  std::optional<StoredItemTable> item_table_;  // where the model has one, from load_model() on
  PinnerFormer model_{nullptr};

  [[nodiscard]] torch::Tensor learned_rows(const torch::Tensor& items) const;  // [...] -> [..., E]
};

}  // namespace pinnerformer
