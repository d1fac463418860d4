// A Trainer per thread on the tiny dataset: training with any number of ranks inside one process.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {

// A model of width 16 for 20 steps of 10 users, dropout 0.1, a record every step, a checkpoint
// every 10. With 47 users the last batch of an epoch is smaller and slices are uneven.
[[nodiscard]] TrainerOptions tiny_trainer_options(const std::string& directory);

// All users of the dataset up to its end; saves are positive.
[[nodiscard]] TrainingData tiny_training_data(const Dataset& dataset);

struct Trained {
  std::map<std::string, torch::Tensor>
      weights;                 // rank 0's; with the item table, "item_table.rows", …
  std::vector<double> losses;  // by step, as in metrics.jsonl
};

// What a rank computes on. Without `tensors`, the communicator of its threads moves them.
struct RankDevice {
  torch::Device device = torch::kCPU;
  std::unique_ptr<Communicator> tensors;
};
// Called on the thread of each rank, with its communicator.
using DeviceOfRank = std::function<RankDevice(Communicator&)>;

// Builds one Trainer per rank, runs `body` on each (default: resume() and train()), checks that all
// ranks end with the same weights, and returns what came out. `directory` is made. Ranks compute on
// the CPU where `device_of_rank` says nothing else.
[[nodiscard]] Trained train_world(const Dataset& dataset, int world, const TrainerOptions& options,
                                  const std::function<void(Trainer&)>& body = {},
                                  DataOptions data_options = {},
                                  const DeviceOfRank& device_of_rank = {});

}  // namespace pinnerformer
