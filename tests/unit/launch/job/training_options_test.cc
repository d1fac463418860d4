// Every option that reaches a training step: the run with this option changed must be the one that
// a plain program computes with the changed value. An option that is ignored, constant or taken for
// another one fails here.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/dataset_fixture.h"
#include "tests/support/plain_training.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_dataset.h"
#include "trainer/checkpoint/checkpoint_list.h"

namespace pinnerformer {
namespace {

using Words = std::vector<std::string>;

constexpr double kTolerance = 2e-4;  // relative, after up to 6 steps in float32

struct Records {
  std::vector<double> losses, learning_rates;
};

Records records_of(const std::string& run) {
  std::ifstream file(run + "/metrics.jsonl");
  Records records;
  for (std::string line; std::getline(file, line);) {
    const auto record = nlohmann::json::parse(line);
    const auto& loss = record.at("loss");  // null: no pair in the step
    records.losses.push_back(loss.is_null() ? 0 : loss.get<double>());
    records.learning_rates.push_back(record.at("learning_rate"));
  }
  return records;
}

// How far two runs are from each other: the largest relative difference of a loss or of the norm of
// a weight. Infinite where they have other losses or shapes.
double distance(const PlainRun& a, const PlainRun& b) {
  if (a.losses.size() != b.losses.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.losses.size(); ++i)
    largest = std::max(largest, std::abs(a.losses[i] - b.losses[i]) / std::abs(b.losses[i]));
  for (const auto& [name, weight] : a.weights) {
    const auto other = b.weights.find(name);
    if (other == b.weights.end() || other->second.sizes() != weight.sizes()) return INFINITY;
    // 1e-2: a small weight that differs by rounding alone does not count.
    const double norm = std::max(1e-2, other->second.norm().item<double>());
    largest = std::max(largest, (weight - other->second).norm().item<double>() / norm);
  }
  return largest;
}

struct Option {
  Words words;         // the change
  Words against = {};  // what it is a change of, beyond tiny_config()
};

std::string name_of(const Words& words) {
  std::string name;
  for (const std::string& word : words) name += (name.empty() ? "" : " ") + word;
  return name;
}

class TrainingOptionsTest : public testing::Test {
 protected:
  TrainingOptionsTest()
      : path_(write_tiny_dataset(directory_.path(), 47, /*vectors=*/true, /*topics=*/true)) {}

  [[nodiscard]] RunConfig config(const Words& words) const {
    return tiny_config(path_, directory_ / name_of(words), words);
  }
  [[nodiscard]] PlainRun trained(const RunConfig& config) const {
    PlainRun run;
    train_config(dataset_, config, [&](Trainer& trainer) {
      for (const auto& entry : trainer.model()->named_parameters())
        run.weights[entry.key()] = entry.value().detach().clone();
      if (trainer.item_table() == nullptr) return;
      for (const auto& [name, column] : trainer.item_table()->model_state())
        run.weights["item_table." + name] = column.to(torch::kFloat32).clone();
    });
    const Records records = records_of(config.run.directory);
    run.losses = records.losses;
    run.learning_rates = records.learning_rates;
    return run;
  }
  // The trainer follows the change, and the change matters.
  void expect_followed(const Option& option) {
    SCOPED_TRACE(name_of(option.words));
    Words words = option.against;
    words.insert(words.end(), option.words.begin(), option.words.end());
    const PlainRun expected = train_plainly(dataset_, config(words));
    const PlainRun found = trained(config(words));
    EXPECT_LT(distance(found, expected), kTolerance);
    ASSERT_EQ(found.learning_rates.size(), expected.learning_rates.size());
    for (size_t i = 0; i < found.learning_rates.size(); ++i)
      EXPECT_NEAR(found.learning_rates[i], expected.learning_rates[i], 1e-12) << "step " << i;
    const auto [before, is_new] = plain_.try_emplace(name_of(option.against));
    if (is_new) before->second = train_plainly(dataset_, config(option.against));
    EXPECT_GT(distance(before->second, expected), 10 * kTolerance)
        << "the change has no effect to be seen";
  }
  void expect_followed(const std::vector<Option>& options) {
    for (const Option& option : options) expect_followed(option);
  }

  TemporaryDirectory directory_;
  std::string path_;
  Dataset dataset_ = Dataset::open(path_);
  std::map<std::string, PlainRun> plain_;  // by what the options are changes of
};

TEST_F(TrainingOptionsTest, RunAndSteps) {
  expect_followed({{{"run.seed=12"}},
                   {{"train.steps=6"}},
                   {{"train.global_batch_users=7"}},
                   {{"data.block_users=3"}},
                   {{"data.shuffle_blocks=1"}}});
}

TEST_F(TrainingOptionsTest, WhatIsTrainedOn) {
  expect_followed({{{"positives.actions=save>20"}},
                   {{"positives.actions=view"}},
                   {{"positives.surfaces=home"}},
                   {{"positives.first_only=true"}},
                   {{"split.users_percent=40"}},
                   {{"split.users_percent=0"}},
                   {{"split.window_days=9"}},
                   {{"split.windows=2"}},
                   {{"split.validation_percent=20"}},
                   {{"split.protocol=leave_one_out"}},
                   {{"split.leave_out=1"}, {"split.protocol=leave_one_out"}}});
}

TEST_F(TrainingOptionsTest, Model) {
  expect_followed({{{"model.max_length=5"}},
                   {{"model.hidden=24"}},
                   {{"model.layers=1"}},
                   {{"model.heads=4"}},
                   {{"model.output=4"}},
                   {{"model.item_hidden=7"}},
                   {{"model.action_dim=3"}},
                   {{"model.surface_dim=2"}},
                   {{"model.dropout=0.3"}},
                   {{"model.temperature=0.3"}},
                   {{"model.features.content=false"}},
                   {{"model.features.time=false"}},
                   {{"model.features.surface=false"}},
                   {{"model.features.action=false"}},
                   {{"model.features.duration=false"}},
                   {{"model.features.position=false"}}});
}

TEST_F(TrainingOptionsTest, FormOfTheModel) {
  const Words one_width = {"item.table.dim=16", "model.output=16"};
  expect_followed({{{"model.block=ligr"}},
                   {{"model.block=hstu"}},
                   {{"model.block=lru"}, {"model.features.position=false"}},
                   {{"model.similarity=dot"}},
                   {{"model.user_head=norm"}, one_width},
                   {{"model.user_head=residual"}},
                   {{"model.user_vectors=3"}},
                   {{"item.tower=tied"}, one_width},
                   {{"item.tower=residual"}}});
}

TEST_F(TrainingOptionsTest, Condition) {
  const Words by_topic = {"model.condition=topic"};
  expect_followed({{by_topic},
                   {{"model.condition_dropout=0"}, by_topic},
                   {{"model.condition_dropout=0.9"}, by_topic},
                   {{"model.user_vectors=2"}, by_topic},
                   {{"model.user_head=residual"}, by_topic}});
}

TEST_F(TrainingOptionsTest, SemanticIds) {
  add_tiny_codes(path_);
  dataset_ = Dataset::open(path_);
  const Words one_width = {"item.table.dim=16", "model.output=16"};
  expect_followed({{{"item.semantic_ids=true"}},
                   {{"item.semantic_ids=true", "item.tower=residual"}},
                   {{"item.semantic_ids=true", "item.tower=tied"}, one_width},
                   {{"item.semantic_ids=true", "model.user_head=residual"}},
                   {{"item.semantic_ids=true", "item.table.placement=none"}}});
}

// A dataset that has codes changes nothing for a model that does not read them.
TEST_F(TrainingOptionsTest, SemanticIdsThatAreNotRead) {
  const PlainRun without = trained(config({"run.seed=21"}));
  add_tiny_codes(path_);
  dataset_ = Dataset::open(path_);
  const PlainRun with = trained(config({"run.seed=21", "run.directory=" + (directory_ / "with")}));
  EXPECT_EQ(with.losses, without.losses);
  ASSERT_EQ(with.weights.size(), without.weights.size());
  for (const auto& [name, weight] : without.weights)
    EXPECT_TRUE(torch::equal(with.weights.at(name), weight)) << name;
}

// Rows are zero at first: the first loss is that of the model without codes.
TEST_F(TrainingOptionsTest, SemanticIdsBeginAsTheModelWithoutThem) {
  add_tiny_codes(path_);
  dataset_ = Dataset::open(path_);
  const PlainRun without = trained(config({"item.semantic_ids=false"}));
  const PlainRun with = trained(config({"item.semantic_ids=true"}));
  EXPECT_EQ(with.losses.front(), without.losses.front());
  EXPECT_NE(with.losses.back(), without.losses.back());
}

TEST_F(TrainingOptionsTest, Prior) {
  expect_followed({{{"model.prior_days=[2]"}},
                   {{"model.prior_days=[1, 6]"}, {"model.prior_days=[2]"}},
                   {{"model.prior_days=[3]"}, {"objective.name=sasrec"}}});
}

TEST_F(TrainingOptionsTest, ItemTable) {
  expect_followed({{{"item.table.placement=none"}},
                   {{"item.table.dim=5"}},
                   {{"item.table.optimizer=lazy_adam"}},
                   {{"item.table.optimizer=adam"}, {"item.table.optimizer=lazy_adam"}},
                   {{"item.table.learning_rate=0.1"}},
                   {{"item.table.init_std=1"}},
                   {{"item.table.hash_buckets=7"}},
                   {{"item.table.unknown_rate=0.5"}},
                   {{"item.table.pretrain_steps=3"}}});
}

// What the steps that train the rows alone take from the options.
TEST_F(TrainingOptionsTest, Pretraining) {
  const Words pretrained = {"item.table.pretrain_steps=3"};
  expect_followed({{{"model.temperature=0.3"}, pretrained},
                   {{"item.table.learning_rate=0.1"}, pretrained},
                   {{"item.table.unknown_rate=0.5"}, pretrained},
                   {{"objective.recent_days=8"}, pretrained},
                   {{"negatives.mask=own_positive"}, pretrained},
                   {{"run.seed=12"}, pretrained}});
}

TEST_F(TrainingOptionsTest, Objective) {
  const Words by_position = {"objective.window_anchor=position"};
  expect_followed({{{"objective.name=next_action"}},
                   {{"objective.name=sasrec"}},
                   {{"objective.name=all_action"}},
                   {{"objective.name=next_item"}},
                   {{"objective.window_days=4"}},
                   {by_position},
                   {{"objective.window_days=4"}, by_position},
                   {{"objective.window_events=4", "objective.window_days=0"}},
                   {{"objective.window_events=2", "objective.window_days=0"}, by_position},
                   {{"objective.max_labels=1"}},
                   {{"objective.positions=2"}},
                   {{"objective.weighting=pair"}},
                   {{"objective.recent_days=8"}},
                   {{"objective.sample_end=latest"}},
                   {{"objective.sample_end=cover"}},
                   {{"objective.sample_end=moment"}}});
}

TEST_F(TrainingOptionsTest, Negatives) {
  expect_followed({{{"negatives.in_batch=5"}},
                   {{"negatives.in_batch=0"}},
                   {{"negatives.random=9"}},
                   {{"negatives.random=0"}},
                   {{"negatives.logq=false"}},
                   {{"negatives.logq_form=mixture"}},
                   {{"negatives.logq_form=corrected"}},
                   {{"negatives.mask=own_positive"}}});
}

TEST_F(TrainingOptionsTest, Optimizer) {
  expect_followed({{{"optimizer.learning_rate=0.02"}},
                   {{"optimizer.warmup_steps=0"}},
                   {{"optimizer.warmup_steps=3"}},
                   {{"optimizer.schedule=constant"}},
                   {{"optimizer.weight_decay=1"}},
                   {{"optimizer.beta1=0.5"}},
                   {{"optimizer.beta2=0.5"}},
                   {{"optimizer.epsilon=0.1"}},
                   {{"optimizer.clip_norm=0.01"}, {"optimizer.epsilon=0.1"}},
                   {{"optimizer.clip_norm=0"}, {"optimizer.epsilon=0.1"}}});
}

// The update rule of the rows takes these three from the optimizer's section.
TEST_F(TrainingOptionsTest, OptimizerOfTheRows) {
  const Words lazy_adam = {"item.table.optimizer=lazy_adam"};
  expect_followed({{{"optimizer.beta1=0.5"}, lazy_adam},
                   {{"optimizer.beta2=0.5"}, lazy_adam},
                   {{"optimizer.epsilon=0.1"}, lazy_adam}});
}

// bfloat16 has three digits: near the float32 run, and not equal to it.
TEST_F(TrainingOptionsTest, Precision) {
  const PlainRun full = train_plainly(dataset_, config({}));
  const PlainRun half = trained(config({"train.precision=bf16_always"}));
  for (size_t i = 0; i < full.losses.size(); ++i) {
    EXPECT_NEAR(half.losses[i], full.losses[i], 0.05 * full.losses[i]);
    EXPECT_GT(std::abs(half.losses[i] - full.losses[i]), 1e-5 * full.losses[i]);
  }
}

// With such an epsilon a weight moves in proportion to its gradient, so that its rounding shows.
TEST_F(TrainingOptionsTest, ReduceDtype) {
  const Words proportional = {"optimizer.epsilon=0.1"};
  const PlainRun full = trained(config(proportional));
  const PlainRun half = trained(config({proportional[0], "comm.reduce_dtype=bf16"}));
  EXPECT_EQ(half.losses[0], full.losses[0]) << "no gradient has been summed yet";
  EXPECT_LT(distance(half, full), 0.05);
  EXPECT_GT(distance(half, full), 1e-5);
}

TEST_F(TrainingOptionsTest, BucketSizes) {
  const auto buckets = [&](const Words& words) {
    std::string plan;
    train_config(dataset_, config(words), [&](Trainer& trainer) {
      for (const AgreedItem& item : trainer.layout())
        if (item.name == "bucket plan") plan = item.value;
    });
    return std::ranges::count(plan, '\n');
  };
  EXPECT_EQ(buckets({}), 1) << "all gradients fit into one bucket";
  EXPECT_GT(buckets({"comm.bucket_mib=0.002"}), 3);
  EXPECT_GT(buckets({"comm.bucket_mib=0.002"}), buckets({"comm.bucket_mib=0.02"}));
}

// A gradient reaches a weight once per part of the batch.
TEST_F(TrainingOptionsTest, GradientAccumulationSteps) {
  const auto gradients_per_step = [&](int64_t parts) {
    int64_t gradients = 0;
    const RunConfig run =
        config({"train.gradient_accumulation_steps=" + std::to_string(parts), "train.steps=2"});
    train_config(dataset_, run, {}, [&](Trainer& trainer) {
      trainer.model()->named_parameters()["head_output.weight"].register_hook(
          [&](const torch::Tensor&) { ++gradients; });
    });
    return gradients / 2;
  };
  for (const int64_t parts : {1, 2, 3}) EXPECT_EQ(gradients_per_step(parts), parts);
}

TEST_F(TrainingOptionsTest, LogEvery) {
  const auto records = [&](const Words& words) { return trained(config(words)).losses.size(); };
  EXPECT_EQ(records({"train.steps=6", "train.log_every=2"}), 3U);
  EXPECT_EQ(records({"train.steps=6", "train.log_every=4"}), 2U) << "the last step is logged";
}

TEST_F(TrainingOptionsTest, Checkpoints) {
  using Steps = std::vector<int64_t>;
  const auto kept = [&](Words words, int64_t every) {
    words.push_back("train.steps=8");
    words.push_back("checkpoint.every_steps=");
    words.back() += std::to_string(every);
    const RunConfig run = config(words);
    train_config(dataset_, run);
    Steps steps;
    for (const std::string& path : list_checkpoints(run.run.directory + "/checkpoints"))
      steps.push_back(read_manifest(path, /*verify_files=*/false).step);
    return steps;
  };
  EXPECT_EQ(kept({"checkpoint.keep_last=9"}, 3), (Steps{3, 6, 8}));
  EXPECT_EQ(kept({"checkpoint.keep_last=2"}, 1), (Steps{7, 8}));
  EXPECT_EQ(kept({"checkpoint.keep_last=1", "checkpoint.keep_every=3"}, 1), (Steps{3, 6, 8}));
}

TEST_F(TrainingOptionsTest, Mirror) {
  const std::string mirror = directory_ / "mirror";
  const RunConfig run = config({"train.steps=4", "checkpoint.every_steps=2",
                                "checkpoint.keep_last=1", "checkpoint.mirror=" + mirror});
  train_config(dataset_, run);
  ASSERT_EQ(list_checkpoints(mirror).size(), 1);
  const std::string copy = list_checkpoints(mirror).front();
  EXPECT_EQ(read_manifest(copy, /*verify_files=*/true).step, 4);
  std::filesystem::remove_all(run.run.directory + "/checkpoints");
  int64_t step = -1;
  train_config(dataset_, run, {}, [&](Trainer& trainer) { step = trainer.step(); });
  EXPECT_EQ(step, 4) << "resumed from the mirror";
}

}  // namespace
}  // namespace pinnerformer
