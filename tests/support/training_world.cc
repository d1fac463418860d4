// Trainers are built one after another: weights come from LibTorch's generator, of which a process
// has one.
#include "tests/support/training_world.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>

#include "tests/support/rank_threads.h"
#include "tests/support/tiny_batches.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/whole_item_table.h"

namespace pinnerformer {
namespace {

std::map<std::string, torch::Tensor> weights_of(Trainer& trainer, Communicator& comm) {
  std::map<std::string, torch::Tensor> weights;
  for (const auto& entry : trainer.model()->named_parameters())
    weights[entry.key()] = entry.value().detach().cpu().clone();
  if (trainer.item_table() != nullptr)
    for (const auto& [name, column] : whole_item_table(*trainer.item_table(), comm))
      weights["item_table." + name] = column.to(torch::kFloat32);
  return weights;
}

std::vector<double> losses_in(const std::string& directory) {
  std::ifstream file(directory + "/metrics.jsonl");
  std::vector<double> losses;
  int64_t step = 0;
  for (std::string line; std::getline(file, line);) {
    const auto record = nlohmann::json::parse(line);
    // A run that began with another's checkpoint has no records of the steps before it.
    step = losses.empty() ? record.at("step").get<int64_t>() : step + 1;
    EXPECT_EQ(record.at("step").get<int64_t>(), step) << "one record per step";
    // A record of skipped steps only has no loss.
    losses.push_back(record.at("loss").is_null() ? std::numeric_limits<double>::quiet_NaN()
                                                 : record.at("loss").get<double>());
  }
  return losses;
}

}  // namespace

TrainerOptions tiny_trainer_options(const std::string& directory) {
  TrainerOptions options;
  options.run.directory = directory;
  options.run.seed = 11;
  options.model = tiny_model_options();
  options.model.dropout = 0.1;
  options.objective.window_days = 10;
  options.objective.positions = 4;
  options.objective.max_labels = 3;
  options.negatives.in_batch = 16;
  options.negatives.random = 25;
  options.optimizer.learning_rate = 5e-3;
  options.optimizer.warmup_steps = 4;
  // Where a gradient is zero but for rounding (the bias of the keys), Adam would blow the rounding
  // up to a full step; this epsilon keeps it below the tolerance.
  options.optimizer.epsilon = 1e-5;
  options.train.steps = 20;
  options.train.global_batch_users = 10;
  options.train.log_every = 1;
  options.checkpoint.every_steps = 10;
  return options;
}

TrainingData tiny_training_data(const Dataset& dataset) {
  TrainingData data;
  data.dataset = &dataset;
  data.users = all_users(dataset);
  data.positives = saves_are_positive(dataset);
  data.part.train_until = dataset.last_time();
  data.options.block_users = 4;
  data.held_out.positives.actions = {"save", "view"};
  data.held_out.split.window_days = 20;
  data.held_out.split.validation_percent = 90;
  data.held_out.split.min_events = 1;
  return data;
}

Trained train_world(const Dataset& dataset, int world, const TrainerOptions& options,
                    const std::function<void(Trainer&)>& body, DataOptions data_options,
                    const DeviceOfRank& device_of_rank) {
  data_options.block_users = 4;
  std::filesystem::create_directories(options.run.directory);
  Trained trained;
  std::mutex construction;
  std::vector<std::map<std::string, torch::Tensor>> weights(static_cast<size_t>(world));
  run_ranks(world, [&](Communicator& comm) {
    TrainingData data = tiny_training_data(dataset);
    data.options = data_options;
    const RankDevice own = device_of_rank ? device_of_rank(comm) : RankDevice();
    const Ranks ranks{&comm, own.tensors ? own.tensors.get() : &comm, own.device};
    std::unique_ptr<Trainer> trainer;
    {
      const std::lock_guard lock(construction);
      trainer =
          std::make_unique<Trainer>(std::move(data), options, CommOptions{}, ranks, "run: tiny\n");
    }
    if (body) {
      body(*trainer);
    } else {
      trainer->resume();
      trainer->train();
    }
    weights[static_cast<size_t>(comm.rank())] = weights_of(*trainer, comm);
  });
  for (const auto& other : weights)
    for (const auto& [name, tensor] : other)
      EXPECT_TRUE(torch::equal(tensor, weights[0].at(name))) << "ranks differ in " << name;
  trained.weights = std::move(weights[0]);
  trained.losses = losses_in(options.run.directory);
  return trained;
}

}  // namespace pinnerformer
