// The number of ranks changes nothing but speed; a stop and a restart change nothing at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"
#include "trainer/checkpoint/checkpoint_list.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr double kTolerance = 1e-4;  // relative, after up to 50 steps in float32
constexpr int64_t kParitySteps = 50;

void expect_near(const Trained& found, const Trained& expected, size_t from_step = 0) {
  ASSERT_EQ(found.losses.size(), expected.losses.size());
  for (size_t step = from_step; step < found.losses.size(); ++step)
    EXPECT_NEAR(found.losses[step], expected.losses[step], kTolerance * expected.losses[step])
        << "step " << step + 1;
  for (const auto& [name, tensor] : expected.weights) {
    const double error = (found.weights.at(name) - tensor).norm().item<double>();
    EXPECT_LE(error, kTolerance * tensor.norm().item<double>() + 1e-6) << name;
  }
}

void expect_same_bits(const Trained& found, const Trained& expected) {
  EXPECT_EQ(found.losses, expected.losses);
  for (const auto& [name, tensor] : expected.weights)
    EXPECT_TRUE(torch::equal(found.weights.at(name), tensor)) << name;
}

class TrainerParityTest : public testing::Test {
 protected:
  TrainerParityTest() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 47))) {}

  [[nodiscard]] TrainerOptions options(const std::string& run) const {
    return tiny_trainer_options(directory_ / run);
  }
  [[nodiscard]] std::string checkpoint(const std::string& run, int64_t step) const {
    char name[32];
    std::snprintf(name, sizeof name, "/checkpoints/step-%09lld", static_cast<long long>(step));
    return directory_ / run + name;
  }
  // A run directory as it was when step 10 had been saved: the job was killed at step 13.
  void killed_after_ten(const std::string& whole, const std::string& killed) const {
    fs::create_directories(directory_ / killed + "/checkpoints");
    fs::copy(checkpoint(whole, 10), checkpoint(killed, 10), fs::copy_options::recursive);
    std::ifstream from(directory_ / whole + "/metrics.jsonl");
    std::ofstream to(directory_ / killed + "/metrics.jsonl");
    std::string line;
    for (int step = 1; step <= 13 && std::getline(from, line); ++step) to << line << '\n';
    to << R"({"step": 14, "lo)";
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
};

struct Objective {
  const char* name;
  const char* anchor;
  const char* weighting = "user";
  const char* sample_end = "uniform";
  const char* mask = "user_positives";

  [[nodiscard]] TrainerOptions of(TrainerOptions run) const {
    run.objective.name = enum_value<ObjectiveKind>(name);
    run.objective.window_anchor = enum_value<WindowAnchor>(anchor);
    run.objective.weighting = enum_value<PairWeighting>(weighting);
    run.objective.sample_end = enum_value<SampleEnd>(sample_end);
    run.negatives.mask = enum_value<NegativeMask>(mask);
    return run;
  }
};

class TrainerParityOfObjective : public TrainerParityTest,
                                 public testing::WithParamInterface<Objective> {};

TEST_P(TrainerParityOfObjective, NumberOfRanksChangesNothing) {
  const auto train = [&](int world) {
    TrainerOptions run = GetParam().of(options("world" + std::to_string(world)));
    run.train.steps = kParitySteps;
    return train_world(dataset_, world, run);
  };
  const Trained one = train(1);
  ASSERT_EQ(std::ssize(one.losses), kParitySteps);
  EXPECT_NE(one.losses[0], one.losses[5]) << "nothing is learned";
  for (const int world : {2, 3, 4}) {
    SCOPED_TRACE(c10::str(world, " ranks"));
    expect_near(train(world), one);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TrainerParityOfObjective,
    testing::Values(Objective{"next_action", "sequence_end"}, Objective{"sasrec", "sequence_end"},
                    Objective{"all_action", "sequence_end"},
                    Objective{"dense_all_action", "sequence_end"},
                    Objective{"dense_all_action", "position"},
                    Objective{"sasrec", "sequence_end", "pair"},
                    Objective{"dense_all_action", "position", "pair", "latest", "own_positive"}),
    [](const auto& entry) {
      return c10::str(entry.param.name, "_", entry.param.anchor, "_", entry.param.weighting, "_",
                      entry.param.sample_end);
    });

// Dropout is keyed by user, the pool is one: parts of a batch are the batch.
TEST_P(TrainerParityOfObjective, AccumulationChangesNothing) {
  const auto train = [&](int world, int64_t parts) {
    TrainerOptions run = GetParam().of(options(c10::str("world", world, "parts", parts)));
    run.train.gradient_accumulation_steps = parts;
    return train_world(dataset_, world, run);
  };
  const Trained whole = train(1, 1);
  expect_near(train(1, 3), whole);
  expect_near(train(2, 2), whole);
  expect_near(train(3, 100), whole);  // more parts than rows: one row each
}

// The same with learned item rows, in both placements.
struct TableCase {
  const char* objective;
  const char* placement;
  const char* optimizer;
};

TrainerOptions with_table(TrainerOptions run, const TableCase& table) {
  run.objective.name = enum_value<ObjectiveKind>(table.objective);
  run.item.table.placement = enum_value<ItemPlacement>(table.placement);
  run.item.table.optimizer = enum_value<RowOptimizerKind>(table.optimizer);
  run.item.table.dim = 6;
  run.item.table.learning_rate = 0.01;
  run.item.table.unknown_rate = 0.1;
  return run;
}

class TrainerParityWithTable : public TrainerParityTest,
                               public testing::WithParamInterface<TableCase> {};

TEST_P(TrainerParityWithTable, NumberOfRanksChangesNothing) {
  const auto train = [&](int world) {
    TrainerOptions run = with_table(options("world" + std::to_string(world)), GetParam());
    run.train.steps = kParitySteps;
    return train_world(dataset_, world, run);
  };
  const Trained one = train(1);
  ASSERT_EQ(std::ssize(one.losses), kParitySteps);
  EXPECT_GT(one.weights.at("item_table.updates").sum().item<float>(), 20) << "rows must move";
  EXPECT_GT(one.weights.at("item_table.rows")[kTinyItems].norm().item<float>(), 0)
      << "the unknown row must learn";
  for (const int world : {2, 3, 4}) {
    SCOPED_TRACE(c10::str(world, " ranks"));
    expect_near(train(world), one);
  }
}

TEST_P(TrainerParityWithTable, TenStepsAndTenMoreAreTwentyBitByBit) {
  for (const int world : {1, 3}) {
    const std::string whole = "whole" + std::to_string(world);
    const std::string killed = "killed" + std::to_string(world);
    const Trained expected = train_world(dataset_, world, with_table(options(whole), GetParam()));
    killed_after_ten(whole, killed);
    const Trained found =
        train_world(dataset_, world, with_table(options(killed), GetParam()), [](Trainer& trainer) {
          trainer.resume();
          EXPECT_EQ(trainer.step(), 10);
          trainer.train();
        });
    expect_same_bits(found, expected);
    for (const char* file : {"item_table.safetensors", "item_table_training.safetensors"})
      EXPECT_EQ(read_manifest(checkpoint(killed, 20), true).files.at(file).xxh3,
                read_manifest(checkpoint(whole, 20), true).files.at(file).xxh3);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainerParityWithTable,
                         testing::Values(TableCase{"next_action", "replicated", "rowwise_adagrad"},
                                         TableCase{"next_action", "row_sharded", "lazy_adam"},
                                         TableCase{"sasrec", "replicated", "lazy_adam"},
                                         TableCase{"sasrec", "row_sharded", "rowwise_adagrad"},
                                         TableCase{"all_action", "replicated", "rowwise_adagrad"},
                                         TableCase{"all_action", "row_sharded", "rowwise_adagrad"},
                                         TableCase{"dense_all_action", "replicated",
                                                   "rowwise_adagrad"},
                                         TableCase{"dense_all_action", "row_sharded", "lazy_adam"}),
                         [](const auto& entry) {
                           return std::string(entry.param.objective) + "_" + entry.param.placement;
                         });

constexpr TableCase kSharded{"dense_all_action", "row_sharded", "rowwise_adagrad"};
constexpr TableCase kReplicated{"dense_all_action", "replicated", "rowwise_adagrad"};

TEST_F(TrainerParityTest, AccumulationChangesNothingForLearnedRowsEither) {
  const Trained whole = train_world(dataset_, 1, with_table(options("whole"), kSharded));
  TrainerOptions parts = with_table(options("parts"), kSharded);
  parts.train.gradient_accumulation_steps = 3;
  expect_near(train_world(dataset_, 2, parts), whole);
}

TEST_F(TrainerParityTest, BothPlacementsTrainTheSameModel) {
  expect_same_bits(train_world(dataset_, 3, with_table(options("a"), kSharded)),
                   train_world(dataset_, 3, with_table(options("b"), kReplicated)));
}

TEST_F(TrainerParityTest, ItemTableGoesOnInTheOtherPlacementOnOtherRanks) {
  const Trained expected = train_world(dataset_, 3, with_table(options("whole"), kSharded));
  killed_after_ten("whole", "killed");
  expect_near(train_world(dataset_, 2, with_table(options("killed"), kReplicated)), expected);
  killed_after_ten("whole", "again");
  expect_near(train_world(dataset_, 4, with_table(options("again"), kSharded)), expected);
}

TEST_F(TrainerParityTest, ChangedRowsAloneResumeBitByBit) {
  const auto run = [&](const std::string& name) {
    TrainerOptions incremental = with_table(options(name), kSharded);
    incremental.checkpoint.every_steps = 2;
    incremental.checkpoint.keep_last = 100;
    incremental.checkpoint.table_full_every = 3;
    incremental.item.table.hash_buckets = 1000;  // most rows never change
    return incremental;
  };
  const Trained expected = train_world(dataset_, 2, run("whole"));
  int64_t incremental = 0;
  for (int64_t step = 2; step <= 20; step += 2)
    incremental += fs::exists(checkpoint("whole", step) + "/item_table_changes.safetensors");
  EXPECT_EQ(incremental, 6) << "two of three";
  killed_after_ten("whole", "killed");
  ASSERT_TRUE(fs::exists(checkpoint("killed", 10) + "/item_table_changes.safetensors"));
  expect_same_bits(train_world(dataset_, 2, run("killed")), expected);
}

TEST_F(TrainerParityTest, RowsAloneWhereADatasetHasNoVectors) {
  const TemporaryDirectory elsewhere;
  const Dataset bare = Dataset::open(write_tiny_dataset(elsewhere.path(), 47, /*vectors=*/false));
  const auto train = [&](int world) {
    return train_world(bare, world, with_table(options("world" + std::to_string(world)), kSharded));
  };
  expect_near(train(3), train(1));
  EXPECT_THROW(static_cast<void>(train_world(bare, 1, options("nothing"))), DataError);
}

TEST_F(TrainerParityTest, HashedRowsAreSharedOnEveryNumberOfRanks) {
  const auto train = [&](int world) {
    TrainerOptions run = with_table(options("world" + std::to_string(world)), kSharded);
    run.item.table.hash_buckets = 7;
    return train_world(dataset_, world, run);
  };
  const Trained one = train(1);
  EXPECT_EQ(one.weights.at("item_table.rows").size(0), 8);
  expect_near(train(4), one);
}

TEST_F(TrainerParityTest, RowsTrainedAloneFirstStartTheRunAndAreNotTrainedAgain) {
  const auto run = [&](const std::string& name) {
    TrainerOptions pretrained = with_table(options(name), kSharded);
    pretrained.item.table.pretrain_steps = 15;
    return pretrained;
  };
  const Trained expected = train_world(dataset_, 1, run("one"));
  expect_near(train_world(dataset_, 3, run("three")), expected);
  const Trained without = train_world(dataset_, 1, with_table(options("without"), kSharded));
  EXPECT_NE(expected.losses[0], without.losses[0]);
  // Killed right after: the checkpoint of step 0 holds the rows.
  fs::create_directories(directory_ / "killed/checkpoints");
  fs::copy(checkpoint("one", 0), checkpoint("killed", 0), fs::copy_options::recursive);
  expect_same_bits(train_world(dataset_, 1, run("killed")), expected);
}

TEST_F(TrainerParityTest, MoreRanksThanUsersInABatch) {
  const auto train = [&](int world) {
    TrainerOptions run = options("world" + std::to_string(world));
    run.train.global_batch_users = 3;
    return train_world(dataset_, world, run);
  };
  expect_near(train(5), train(1));
}

TEST_F(TrainerParityTest, SameRunTwiceGivesTheSameBits) {
  for (const int world : {1, 3})
    expect_same_bits(train_world(dataset_, world, options("a" + std::to_string(world))),
                     train_world(dataset_, world, options("b" + std::to_string(world))));
}

TEST_F(TrainerParityTest, SeedChangesTheRun) {
  TrainerOptions other = options("b");
  other.run.seed = 12;
  EXPECT_NE(train_world(dataset_, 1, other).losses, train_world(dataset_, 1, options("a")).losses);
}

TEST_F(TrainerParityTest, TenStepsAndTenMoreAreTwentyBitByBit) {
  for (const int world : {1, 2, 3}) {
    SCOPED_TRACE(c10::str(world, " ranks"));
    const std::string whole = "whole" + std::to_string(world);
    const std::string killed = "killed" + std::to_string(world);
    const Trained expected = train_world(dataset_, world, options(whole));
    killed_after_ten(whole, killed);
    const Trained found = train_world(dataset_, world, options(killed), [](Trainer& trainer) {
      trainer.resume();
      EXPECT_EQ(trainer.step(), 10);
      trainer.train();
    });
    expect_same_bits(found, expected);
    const CheckpointInfo info = read_manifest(checkpoint(killed, 20), /*verify_files=*/true);
    EXPECT_EQ(info.samples, read_manifest(checkpoint(whole, 20), true).samples);
    EXPECT_EQ(info.files.at("training.safetensors").xxh3,
              read_manifest(checkpoint(whole, 20), true).files.at("training.safetensors").xxh3)
        << "moments and counts";
  }
}

TEST_F(TrainerParityTest, ResumeOnAnotherNumberOfRanks) {
  const Trained expected = train_world(dataset_, 3, options("whole"));
  killed_after_ten("whole", "killed");
  expect_near(train_world(dataset_, 2, options("killed")), expected);
  EXPECT_EQ(read_manifest(checkpoint("killed", 20), true).samples,
            read_manifest(checkpoint("whole", 20), true).samples);
}

TEST_F(TrainerParityTest, ResumeOfAFinishedRunTakesNoStep) {
  const Trained done = train_world(dataset_, 2, options("run"));
  expect_same_bits(train_world(dataset_, 2, options("run")), done);
}

TEST_F(TrainerParityTest, DamagedNewestCheckpointCostsStepsNotTheRun) {
  const Trained expected = train_world(dataset_, 1, options("run"));
  const std::string model = checkpoint("run", 20) + "/model.safetensors";
  fs::resize_file(model, fs::file_size(model) - 1);
  TrainerOptions again = options("run");
  again.checkpoint.every_steps = 5;
  again.checkpoint.keep_last = 1;  // the damaged one must not be the one that is kept
  const Trained found = train_world(dataset_, 1, again, [&](Trainer& trainer) {
    trainer.resume();
    EXPECT_EQ(trainer.step(), 10);
    trainer.train();
  });
  expect_same_bits(found, expected);
  EXPECT_EQ(find_newest_checkpoint(directory_ / "run/checkpoints").path, checkpoint("run", 20));
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST_F(TrainerParityTest, CheckpointOfAnotherModelOrDatasetIsRefused) {
  TrainerOptions short_run = options("run");
  short_run.train.steps = 2;
  static_cast<void>(train_world(dataset_, 1, short_run));
  TrainerOptions wider = short_run;
  wider.model.hidden = 24;
  EXPECT_THAT(message_of([&] { static_cast<void>(train_world(dataset_, 1, wider)); }),
              HasSubstr("another model"));
  const auto refused = [&](const TrainerOptions& run) {
    return message_of([&] { static_cast<void>(train_world(dataset_, 1, run)); });
  };
  TrainerOptions table = with_table(options("table"), kSharded);
  table.train.steps = 2;
  EXPECT_THAT(refused(with_table(short_run, kSharded)), HasSubstr("has no item table"));
  static_cast<void>(train_world(dataset_, 1, table));
  TrainerOptions none = table;
  none.item.table.placement = ItemPlacement::kNone;
  none.run.directory = table.run.directory;
  EXPECT_THAT(refused(none), HasSubstr("has an item table, and this run has none"));
  TrainerOptions buckets = table;
  buckets.item.table.hash_buckets = 9;
  EXPECT_THAT(refused(buckets), HasSubstr("'rows' has shape [41, 6] there, [10, 6] here"));
  TrainerOptions rule = table;
  rule.item.table.optimizer = RowOptimizerKind::kLazyAdam;
  EXPECT_THAT(refused(rule), HasSubstr("another item.table.optimizer"));
  TrainerOptions width = table;
  width.item.table.dim = 5;
  EXPECT_THAT(refused(width), HasSubstr("'rows' has shape [41, 6] there, [41, 5] here"));
  const TemporaryDirectory elsewhere;
  const Dataset other = Dataset::open(write_tiny_dataset(elsewhere.path(), 30));
  EXPECT_THAT(message_of([&] { static_cast<void>(train_world(other, 1, short_run)); }),
              HasSubstr("another dataset"));
}

TEST_F(TrainerParityTest, TrainingLowersTheLoss) {
  TrainerOptions run = options("run");
  run.train.steps = 120;
  run.checkpoint.every_steps = 1000;
  run.negatives.logq = false;
  const Trained trained = train_world(dataset_, 1, run);
  const auto mean = [&](size_t begin) {
    double sum = 0;
    for (size_t step = begin; step < begin + 10; ++step) sum += trained.losses[step];
    return sum / 10;
  };
  EXPECT_LT(mean(110), mean(0) - 0.3);
}

}  // namespace
}  // namespace pinnerformer
