// A checkpoint opened for use gives the vectors of the model that was trained, without dropout.
#include "launch/serving/loaded_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <string>
#include <vector>

#include "comm/thread_communicator.h"
#include "configs/errors.h"
#include "dataloader/sampling/batch.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/device/device_double.h"
#include "tests/support/message_of.h"
#include "tests/support/rank_threads.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_dataset.h"
#include "trainer/evaluation/validation.h"

namespace pinnerformer {
namespace {

constexpr int64_t kMaxLength = 5;

// The vectors of a trained model, made here: evaluation mode, the newest events of every user, the
// unknown row for items that no step of training moved.
struct Expected {
  torch::Tensor items;  // [I, D]
  torch::Tensor users;  // [U, D]
  int64_t unknown_items = 0;
};

// One row per item, or the row of its bucket. [I, E]; undefined without a table.
torch::Tensor table_rows(ItemTable* table, const Dataset& dataset, int64_t* unknown_items) {
  if (table == nullptr) return {};
  const auto state = table->model_state();
  const int64_t unknown = state.at("rows").size(0) - 1;
  std::vector<torch::Tensor> rows;
  for (int64_t item = 0; item < dataset.items(); ++item) {
    const bool hashed = unknown != dataset.items();
    int64_t row =
        hashed ? static_cast<int64_t>(dataset.item_hash(item) % static_cast<uint64_t>(unknown))
               : item;
    if (state.at("updates")[row].item<int32_t>() == 0) {
      row = unknown;
      ++*unknown_items;
    }
    rows.push_back(state.at("rows")[row]);
  }
  return torch::stack(rows);
}

Expected expected_vectors(Trainer& trainer, const Dataset& dataset) {
  const torch::NoGradGuard no_grad;
  PinnerFormer model = trainer.model();
  model->eval();
  Expected expected;
  const torch::Tensor rows = table_rows(trainer.item_table(), dataset, &expected.unknown_items);
  const auto rows_of = [&](const torch::Tensor& items) {
    if (!rows.defined()) return torch::Tensor();
    std::vector<int64_t> shape = items.sizes().vec();
    shape.push_back(rows.size(1));
    return rows.index_select(0, items.flatten()).view(shape);
  };
  const torch::Tensor items = torch::arange(dataset.items());
  expected.items = model->item_embedding(items, rows_of(items));
  std::vector<torch::Tensor> users;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    const Timeline timeline = dataset.timeline(user);
    const std::vector<BatchRow> row = {
        {&timeline, std::max<int64_t>(0, timeline.size() - kMaxLength), timeline.size(), 0}};
    const Batch batch = make_batch(row);
    users.push_back(model->user_embedding(batch, rows_of(batch.item)));
  }
  expected.users = torch::cat(users);
  model->train();
  return expected;
}

std::vector<Timeline> timelines_of(const Dataset& dataset) {
  std::vector<Timeline> timelines;
  for (int64_t user = 0; user < dataset.users(); ++user)
    timelines.push_back(dataset.timeline(user));
  return timelines;
}

void expect_vectors(LoadedModel& model, const Expected& expected) {
  EXPECT_TRUE(torch::allclose(model.item_vectors(), expected.items, 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(model.user_vectors(timelines_of(model.dataset())), expected.users,
                              1e-4, 1e-5));
  EXPECT_EQ(model.unknown_items(), expected.unknown_items);
}

class LoadedModelTest : public testing::Test {
 protected:
  LoadedModelTest() : path_(write_tiny_dataset(directory_.path(), 47)) {}

  // Trains a run of this name and returns the vectors of its last step.
  Expected train(const std::string& name, std::vector<std::string> words) {
    words.insert(words.end(),
                 {"model.dropout=0.6", "model.max_length=" + std::to_string(kMaxLength)});
    Expected expected;
    train_config(dataset_, tiny_config(path_, directory_ / name, words),
                 [&](Trainer& trainer) { expected = expected_vectors(trainer, dataset_); });
    return expected;
  }
  [[nodiscard]] LoadedModel load(const LoadedModelOptions& options,
                                 DataUse use = DataUse::kTrainingData) const {
    LoadedModel model(options, use);
    model.load_model(torch::kCPU, *alone_);
    return model;
  }
  [[nodiscard]] LoadedModelOptions run(const std::string& name) const {
    LoadedModelOptions options;
    options.run = directory_ / name;
    return options;
  }

  std::unique_ptr<Communicator> alone_ = make_single_communicator();
  TemporaryDirectory directory_;
  std::string path_;
  Dataset dataset_ = Dataset::open(path_);
};

TEST_F(LoadedModelTest, VectorsAreThoseOfTheTrainedModelWithoutDropout) {
  const Expected expected =
      train("run", {"train.steps=2", "train.global_batch_users=2", "negatives.random=0"});
  ASSERT_GT(expected.unknown_items, 0) << "some item must read the unknown row";
  LoadedModel model = load(run("run"));
  expect_vectors(model, expected);
  LoadedModel again = load(run("run"));
  EXPECT_TRUE(torch::equal(again.item_vectors(), model.item_vectors()));
}

#ifdef PF_WITH_CUDA
TEST_F(LoadedModelTest, VectorsOfADeviceAreThoseOfTheCpu) {
  const Expected expected = train("run", {});
  device_double::reset();
  LoadedModel model(run("run"), DataUse::kTrainingData);
  model.load_model(device_double::device(0), *alone_);
  expect_vectors(model, expected);
  EXPECT_THAT(device_double::report().findings, testing::IsEmpty());
}
#endif

// Each rank computes its share.
TEST_F(LoadedModelTest, VectorsAreTheSameOnEveryRank) {
  train("run", {});
  const torch::Tensor alone = load(run("run")).item_vectors();
  LoadedModel first = load(run("run")), second = load(run("run"));
  run_ranks(2, [&](Communicator& comm) {
    LoadedModel& mine = comm.rank() == 0 ? first : second;
    EXPECT_TRUE(torch::equal(mine.item_vectors(comm), alone));
  });
}

// A training saves while the ranks of a command look for its newest checkpoint.
TEST_F(LoadedModelTest, RanksWithDifferentCheckpointsAreRefused) {
  train("run", {"checkpoint.every_steps=2", "checkpoint.keep_last=9"});
  LoadedModelOptions named;
  named.checkpoint = directory_ / "run/checkpoints/step-000000002";
  LoadedModel newest(run("run"), DataUse::kTrainingData);
  LoadedModel older(named, DataUse::kTrainingData);
  EXPECT_THAT(message_of<ConfigError>([&] {
                run_ranks(2, [&](Communicator& comm) {
                  (comm.rank() == 0 ? newest : older).load_model(torch::kCPU, comm);
                });
              }),
              testing::HasSubstr("do not agree on the checkpoint: rank 1 differs from rank 0"));
}

TEST_F(LoadedModelTest, RowsByHashAndNoRowsAtAllLoadTheSameWay) {
  const Expected none = train("none", {"item.table.placement=none"});
  LoadedModel without = load(run("none"));
  expect_vectors(without, none);
  const Expected hashed = train("hashed", {"item.table.hash_buckets=7"});
  LoadedModel with = load(run("hashed"));
  expect_vectors(with, hashed);
}

TEST_F(LoadedModelTest, CodesAreThoseOfTheTraining) {
  add_tiny_codes(path_);
  dataset_ = Dataset::open(path_);
  const Expected expected = train("run", {"item.semantic_ids=true"});
  LoadedModel model = load(run("run"));
  expect_vectors(model, expected);
  const torch::Tensor rows = model.tower_rows(torch::arange(dataset_.items()));
  EXPECT_EQ(rows.size(1), model.unknown_tower_row().numel());
  EXPECT_GT(rows.narrow(1, rows.size(1) - 1, 1).abs().max().item<float>(), 0);
}

TEST_F(LoadedModelTest, TheNewestCheckpointOfARunOrTheOneNamed) {
  const std::vector<std::string> words = {"checkpoint.every_steps=2", "checkpoint.keep_last=9"};
  const Expected newest = train("run", words);
  LoadedModel model = load(run("run"));
  EXPECT_EQ(model.checkpoint().step, 4);
  expect_vectors(model, newest);
  LoadedModelOptions named;
  named.checkpoint = directory_ / "run/checkpoints/step-000000002";
  LoadedModel older = load(named);
  EXPECT_EQ(older.checkpoint().step, 2);
  EXPECT_FALSE(torch::allclose(older.item_vectors(), newest.items, 1e-4, 1e-5));
}

// The configuration is the stored one with the overrides; what shaped the model may not change.
TEST_F(LoadedModelTest, OverridesChangeTheDataAndTheEvaluationOnly) {
  train("run", {});
  LoadedModelOptions options = run("run");
  options.overrides = {"evaluate.index_items=7", "comm.timeout_seconds=5"};
  const LoadedModel model(options, DataUse::kTrainingData);
  EXPECT_EQ(model.config().evaluate.index_items, 7);
  EXPECT_EQ(model.config().comm.timeout_seconds, 5);
  EXPECT_EQ(model.config().run.seed, 11);
  EXPECT_EQ(model.config().split.users_percent, 20);
  for (const std::string word : {"model.hidden=24", "split.users_percent=10", "run.seed=1"}) {
    options.overrides = {word};
    EXPECT_THROW(LoadedModel(options, DataUse::kTrainingData), std::runtime_error) << word;
  }
}

// A dataset that knows "save" alone numbers it 0; the model was trained with "save" as 1.
TEST_F(LoadedModelTest, ActionsAndSurfacesAreFoundByName) {
  std::vector<EventRow> both, saves;
  for (int64_t user = 0; user < 30; ++user)
    for (int64_t i = 0; i < 8; ++i) {
      const bool is_view = user != 0 && i % 3 == 0;
      EventRow row{user, (user + 5 * i) % kTinyItems, is_view ? "a view" : "save",
                   is_view ? "a home" : "search", 1'600'000'000 + 86400 * i + user};
      both.push_back(row);
      if (user == 0) saves.push_back(row);
    }
  FixtureItems items;
  items.count = kTinyItems;
  items.vectors = torch::sin(torch::arange(kTinyItems * 8, torch::kFloat32)).view({kTinyItems, 8});
  const TemporaryDirectory training, later;
  const std::string trained_on = write_dataset(training.path(), both, items);
  const std::string served = write_dataset(later.path(), saves, items);
  const Dataset dataset = Dataset::open(trained_on);
  const std::string run = directory_ / "named";
  train_config(dataset, tiny_config(trained_on, run, {"split.window_days=1"}));
  LoadedModelOptions options;
  options.run = run;
  LoadedModel here = load(options);
  options.overrides = {"data.path=" + served};
  LoadedModel there = load(options, DataUse::kAnyThatFits);
  const std::vector<Timeline> user_here = {here.dataset().timeline(*here.dataset().find_user("0"))};
  const std::vector<Timeline> user_there = {there.dataset().timeline(0)};
  ASSERT_NE(user_here[0].action, user_there[0].action) << "the numbers must differ";
  EXPECT_TRUE(
      torch::allclose(there.user_vectors(user_there), here.user_vectors(user_here), 1e-4, 1e-5));
}

// What training saw of its model is what evaluation of the checkpoint gives.
TEST_F(LoadedModelTest, ValidationInTrainingIsThatOfTheCheckpoint) {
  int64_t most_unknown = 0;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{},
        {"item.table.placement=none"},
        {"model.prior_days=[1, 5]", "positives.first_only=true"},
        {"model.user_vectors=3", "model.prior_days=[1, 5]", "model.similarity=dot"},
        {"item.table.dim=16", "model.output=16", "item.tower=tied", "model.similarity=dot"},
        {"train.global_batch_users=2", "negatives.random=0", "item.table.init_std=2",
         "item.table.dim=16", "model.output=16", "item.tower=tied", "model.similarity=dot"}}) {
    const std::string name = std::to_string(words.size()) + (words.empty() ? "" : words[0]);
    std::vector<std::string> all = {"split.validation_percent=70", "split.window_days=15",
                                    "split.min_events=1", "positives.actions=save,view",
                                    "validate.every_steps=4"};
    all.insert(all.end(), words.begin(), words.end());
    train(name, all);
    LoadedModel model = load(run(name));
    const RunConfig& config = model.config();
    EncoderMethod method(
        "model", [&](const std::vector<HistoryPrefix>& users) { return model.user_vectors(users); },
        model.item_vectors());
    const ValidationResult expected = validate(
        {model.dataset(), config.positives, config.split, config.evaluate, 1, *alone_, {}}, method);
    ASSERT_GT(expected.positives, 5);
    const BestStep best = model.checkpoint().best;
    EXPECT_EQ(best.step, 4) << name;
    EXPECT_NEAR(best.recall_at_10, expected.metrics.recall_at_10, 1e-6) << name;
    most_unknown = std::max(most_unknown, model.unknown_items());
  }
  EXPECT_GT(most_unknown, 0) << "rows that no step has trained are the unknown row";
}

}  // namespace
}  // namespace pinnerformer
