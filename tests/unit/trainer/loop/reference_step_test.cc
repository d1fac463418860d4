// One training step against PyTorch: the same weights, batch and pool give the same loss and
// gradients in tests/support/reference_model.py, run by the Python of the build.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/project_paths.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"
#include "trainer/checkpoint/safetensors.h"

namespace pinnerformer {
namespace {

using Tensors = std::map<std::string, torch::Tensor>;

// What the step consumes and nobody could compute in two ways: drawn by the same keys as in
// train().
struct Consumed {
  TrainingBatch batch;
  std::vector<Pair> pairs;
  NegativePool pool;
  int64_t users_with_pairs = 0;
};

Consumed consumed_by_first_step(const TrainingData& data, const TrainerOptions& options,
                                Communicator& comm) {
  const LoaderSpec spec{
      window_spec(options.objective, options.model.max_length, data.part.train_until), data.part,
      options.train.global_batch_users, options.run.seed};
  DataLoader loader(*data.dataset, data.users, data.positives, spec, data.options, {});
  Consumed step;
  step.batch = loader.next();
  step.pairs = make_pairs(step.batch, options.objective);
  const GlobalPositives global = gather_positives(
      step.batch, step.pairs, pool_positives(step.batch, step.pairs, options.objective), comm);
  NegativeSampler sampler(options.negatives, data.dataset->items(), options.run.seed);
  step.pool = sampler.draw(global, step.pairs, 0, comm);
  step.users_with_pairs = global.users_with_pairs;
  return step;
}

Tensors as_tensors(const Consumed& step) {
  Tensors tensors{{"batch.length", step.batch.inputs.length},
                  {"batch.item", step.batch.inputs.item},
                  {"batch.action", step.batch.inputs.action},
                  {"batch.surface", step.batch.inputs.surface},
                  {"batch.time", step.batch.inputs.time},
                  {"batch.duration", step.batch.inputs.duration},
                  {"pool.item", step.pool.item},
                  {"pool.log_q", step.pool.log_q},
                  {"pool.positive_log_q", step.pool.positive_log_q}};
  std::vector<int64_t> row, position, item, labels;
  std::vector<float> weight;
  for (const Pair& pair : step.pairs) {
    row.push_back(pair.row);
    position.push_back(pair.position);
    item.push_back(pair.item);
    weight.push_back(static_cast<float>(pair.weight));
  }
  for (size_t r = 0; r < step.batch.labels.size(); ++r)
    for (const Label& label : step.batch.labels[r]) {
      labels.push_back(static_cast<int64_t>(r));
      labels.push_back(label.item);
    }
  tensors["pair.row"] = torch::tensor(row, torch::kInt64);
  tensors["pair.position"] = torch::tensor(position, torch::kInt64);
  tensors["pair.item"] = torch::tensor(item, torch::kInt64);
  tensors["pair.weight"] = torch::tensor(weight);
  tensors["labels"] = torch::tensor(labels, torch::kInt64).view({-1, 2});
  return tensors;
}

struct Variant {
  std::string name;
  std::function<void(TrainerOptions&)> change;
};

Variant objective(ObjectiveKind kind) {
  return {std::string(enum_name(kind)),
          [kind](TrainerOptions& options) { options.objective.name = kind; }};
}

class ReferenceStep : public testing::TestWithParam<Variant> {};

TEST_P(ReferenceStep, LossAndGradientsAreThoseOfPytorch) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_tiny_dataset(directory.path(), 47));
  TrainerOptions options = tiny_trainer_options(directory / "run");
  GetParam().change(options);
  options.model.dropout = 0;
  options.optimizer.clip_norm = 0;  // gradients as they are
  options.train.steps = 1;
  options.train.global_batch_users = 20;
  const auto comm = make_single_communicator();
  const TrainingData data = tiny_training_data(dataset);
  const Consumed step = consumed_by_first_step(data, options, *comm);
  ASSERT_GT(step.pairs.size(), 10U);

  Tensors tensors = as_tensors(step);
  tensors["item_vectors"] = dataset.item_vectors();
  const Trained trained = train_world(dataset, 1, options, [&](Trainer& trainer) {
    // Phases of the time channels start at zero, which would hide where they go.
    torch::manual_seed(3);
    for (const auto& entry : trainer.model()->named_parameters())
      if (entry.key().ends_with(".phase")) entry.value().detach().uniform_(-1, 1);
    for (const auto& entry : trainer.model()->named_parameters())  // likewise where a layer ends
      if (entry.value().dim() == 2 && entry.value().count_nonzero().item<int64_t>() == 0)
        entry.value().detach().uniform_(-0.1, 0.1);
    for (const auto& entry : trainer.model()->named_parameters())
      tensors["weight." + entry.key()] = entry.value().detach().clone();
    trainer.train();
    for (const auto& entry : trainer.model()->named_parameters())
      tensors["gradient." + entry.key()] = entry.value().grad().clone();
  });
  write_safetensors(directory / "step.safetensors", tensors);
  const ModelOptions& model = options.model;
  const nlohmann::json description{{"loss", trained.losses.at(0)},
                                   {"users_with_pairs", step.users_with_pairs},
                                   {"model",
                                    {{"actions", std::ssize(dataset.actions())},
                                     {"surfaces", std::ssize(dataset.surfaces())},
                                     {"max_length", model.max_length},
                                     {"hidden", model.hidden},
                                     {"layers", model.layers},
                                     {"heads", model.heads},
                                     {"output", model.output},
                                     {"item_hidden", model.item_hidden},
                                     {"action_dim", model.action_dim},
                                     {"surface_dim", model.surface_dim},
                                     {"block", enum_name(model.block)},
                                     {"user_head", enum_name(model.user_head)},
                                     {"similarity", enum_name(model.similarity)},
                                     {"tower", enum_name(options.item.tower)}}}};
  std::ofstream(directory / "step.json") << description.dump();
  const std::string command = python_program() + " " + source_directory() +
                              "/tests/support/reference_step.py " + directory.path();
  EXPECT_EQ(std::system(command.c_str()), 0);
}

const auto kVariantName = [](const auto& entry) { return entry.param.name; };

INSTANTIATE_TEST_SUITE_P(Objectives, ReferenceStep,
                         testing::Values(objective(ObjectiveKind::kNextAction),
                                         objective(ObjectiveKind::kSasrec),
                                         objective(ObjectiveKind::kAllAction),
                                         objective(ObjectiveKind::kDenseAllAction),
                                         objective(ObjectiveKind::kNextItem)),
                         kVariantName);

INSTANTIATE_TEST_SUITE_P(
    Models, ReferenceStep,
    testing::Values(Variant{"ligr", [](auto& o) { o.model.block = BlockKind::kLigr; }},
                    Variant{"hstu", [](auto& o) { o.model.block = BlockKind::kHstu; }},
                    Variant{"lru",
                            [](auto& o) {
                              o.model.block = BlockKind::kLru;
                              o.model.features.position = false;
                            }},
                    Variant{"residual", [](auto& o) { o.item.tower = ItemTower::kResidual; }},
                    Variant{"dot", [](auto& o) { o.model.similarity = Similarity::kDot; }},
                    Variant{"residual_head",
                            [](auto& o) { o.model.user_head = UserHead::kResidual; }},
                    Variant{"norm_head",
                            [](auto& o) {
                              o.model.user_head = UserHead::kNorm;
                              o.model.output = o.model.hidden;
                            }}),
    kVariantName);

}  // namespace
}  // namespace pinnerformer
