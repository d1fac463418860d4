// Validation in training: the same on any number of ranks, the best step is kept, training ends
// when nothing gets better, and a resumed run goes on as if it had not stopped.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <tuple>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/rank_threads.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_list.h"

namespace pinnerformer {
namespace {

using Curve = std::map<int64_t, nlohmann::json>;  // by step

Curve curve_of(const std::string& run) {
  Curve curve;
  std::ifstream file(run + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record.contains("validation")) curve[record.at("step")] = record.at("validation");
  }
  return curve;
}

std::vector<int64_t> kept_steps(const std::string& run) {
  std::vector<int64_t> steps;
  for (const std::string& path : list_checkpoints(run + "/checkpoints"))
    steps.push_back(read_manifest(path, /*verify_files=*/false).step);
  return steps;
}

class TrainerValidationTest : public testing::Test {
 protected:
  TrainerValidationTest() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 47))) {}

  [[nodiscard]] TrainerOptions options(const std::string& name) const {
    TrainerOptions options = tiny_trainer_options(directory_ / name);
    options.validate.every_steps = 4;
    options.train.steps = 14;
    return options;
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
};

TEST_F(TrainerValidationTest, IsTheSameOnAnyNumberOfRanks) {
  for (const ItemPlacement placement :
       {ItemPlacement::kNone, ItemPlacement::kReplicated, ItemPlacement::kRowSharded}) {
    Curve of_one;
    for (const int world : {1, 3}) {
      const std::string name =
          std::to_string(static_cast<int>(placement)) + "on" + std::to_string(world);
      TrainerOptions changed = options(name);
      changed.item.table.placement = placement;
      changed.model.prior_days = {2, 7};
      std::ignore = train_world(dataset_, world, changed);
      const Curve curve = curve_of(changed.run.directory);
      ASSERT_EQ(curve.size(), 4U) << "after steps 4, 8, 12 and 14";
      if (world == 1) of_one = curve;
      EXPECT_GT(curve.at(14).at("positives").get<int64_t>(), 10);
      for (const auto& [step, validation] : curve)
        EXPECT_NEAR(validation.at("recall_at_10").get<double>(),
                    of_one.at(step).at("recall_at_10").get<double>(), 0.02)
            << "step " << step << " on " << world;
    }
  }
}

// Also where no other record is due.
TEST_F(TrainerValidationTest, IsRecordedAtItsStep) {
  TrainerOptions rarely = options("rarely");
  rarely.train.log_every = 100;
  std::filesystem::create_directories(rarely.run.directory);
  run_ranks(1, [&](Communicator& comm) {
    Trainer trainer(tiny_training_data(dataset_), rarely, CommOptions{},
                    Ranks{&comm, &comm, torch::kCPU}, "run: tiny\n");
    EXPECT_TRUE(trainer.train());
  });
  std::vector<int64_t> steps;
  for (const auto& [step, validation] : curve_of(rarely.run.directory)) steps.push_back(step);
  EXPECT_EQ(steps, (std::vector<int64_t>{4, 8, 12, 14}));
}

TEST_F(TrainerValidationTest, TrainsAsWithoutIt) {
  TrainerOptions without = options("without");
  without.validate.every_steps = 0;
  const Trained expected = train_world(dataset_, 1, without);
  EXPECT_EQ(train_world(dataset_, 1, options("with")).losses, expected.losses);
}

// What cannot be validated is said before the first step, not after `every_steps` of them.
TEST_F(TrainerValidationTest, NothingToValidateIsFoundBeforeTheFirstStep) {
  const auto error_of = [&](const std::function<void(TrainingData&)>& change) {
    std::string text;
    std::mutex mutex;
    std::filesystem::create_directories(directory_ / "none");
    run_ranks(2, [&](Communicator& comm) {
      TrainingData data = tiny_training_data(dataset_);
      change(data);
      Trainer trainer(data, options("none"), CommOptions{}, Ranks{&comm, &comm, torch::kCPU},
                      "run: tiny\n");
      try {
        trainer.train();
        ADD_FAILURE() << "it trained";
      } catch (const DataError& error) {
        const std::lock_guard lock(mutex);
        text = error.what();
      }
      EXPECT_EQ(trainer.step(), 0);
    });
    return text;
  };
  EXPECT_NE(error_of([](TrainingData& data) {
              data.held_out.evaluate.index_items = 1'000'000;
            }).find("evaluate.index_items = 1000000"),
            std::string::npos);
  EXPECT_NE(error_of([](TrainingData& data) {
              data.held_out.split.min_events = 100'000;
            }).find("nothing to evaluate: of "),
            std::string::npos);
}

// The best step of the run that it began with is no step of this run.
TEST_F(TrainerValidationTest, ARunThatBeginsWithAnotherHasABestStepOfItsOwn) {
  std::ignore = train_world(dataset_, 1, options("first"));
  TrainerOptions fork = options("fork");
  fork.optimizer.learning_rate = 1e-12;
  fork.train.steps = 18;
  const std::string from = list_checkpoints(options("first").run.directory + "/checkpoints").back();
  std::ignore = train_world(dataset_, 1, fork, [&](Trainer& trainer) {
    trainer.resume({}, from);
    EXPECT_TRUE(trainer.train());
  });
  const BestStep best =
      read_manifest(list_checkpoints(fork.run.directory + "/checkpoints").back(), true).best;
  EXPECT_EQ(best.step, 16) << "its first validation";
}

// Weights that do not move never get better: the first validation stays the best one.
TEST_F(TrainerValidationTest, EndsEarlyAndKeepsTheBestStep) {
  TrainerOptions still = options("still");
  still.optimizer.learning_rate = 1e-12;
  still.train.steps = 40;
  still.validate.patience = 3;
  still.checkpoint.every_steps = 1;
  still.checkpoint.keep_last = 2;
  bool done = false;
  std::ignore = train_world(dataset_, 2, still, [&](Trainer& trainer) {
    trainer.resume();
    const bool finished = trainer.train();
    EXPECT_EQ(trainer.step(), 16);
    done = finished;
  });
  EXPECT_TRUE(done) << "an early end is an end";
  EXPECT_EQ(kept_steps(still.run.directory), (std::vector<int64_t>{4, 15, 16}));
  const BestStep best =
      read_manifest(list_checkpoints(still.run.directory + "/checkpoints").back(), true).best;
  EXPECT_EQ(best.step, 4);
  EXPECT_EQ(best.validations_since, 3);
  for (const int world : {1, 2})
    std::ignore = train_world(dataset_, world, still, [&](Trainer& trainer) {
      trainer.resume();
      EXPECT_TRUE(trainer.train());
      EXPECT_EQ(trainer.step(), 16) << "patience is still spent, on every rank";
    });
}

TEST_F(TrainerValidationTest, ResumesWithWhatItHadSeen) {
  TrainerOptions whole = options("whole"), parts = options("parts");
  std::ignore = train_world(dataset_, 1, whole);
  std::ignore = train_world(dataset_, 1, parts, [&](Trainer& trainer) {
    trainer.resume();
    EXPECT_FALSE(trainer.train({.requested = [&] { return trainer.step() >= 9; }, .deadline = {}}));
  });
  std::ignore = train_world(dataset_, 1, parts);
  EXPECT_EQ(curve_of(parts.run.directory), curve_of(whole.run.directory));
  const auto best = [](const TrainerOptions& run) {
    return read_manifest(list_checkpoints(run.run.directory + "/checkpoints").back(), true).best;
  };
  EXPECT_EQ(best(parts).step, best(whole).step);
  EXPECT_EQ(best(parts).recall_at_10, best(whole).recall_at_10);
  EXPECT_EQ(best(parts).validations_since, best(whole).validations_since);
}

}  // namespace
}  // namespace pinnerformer
