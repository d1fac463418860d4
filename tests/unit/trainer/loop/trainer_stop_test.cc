// Ending on purpose: all ranks after the same step, with a checkpoint, and nothing lost by it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/loop/stop_condition.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class TrainerStopTest : public testing::Test {
 protected:
  TrainerStopTest() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 47))) {}

  [[nodiscard]] TrainerOptions options(const std::string& run) const {
    return tiny_trainer_options(directory_ / run);
  }
  [[nodiscard]] std::vector<int64_t> saved_steps(const std::string& run) const {
    std::vector<int64_t> steps;
    for (const std::string& path : list_checkpoints(directory_ / run + "/checkpoints"))
      steps.push_back(read_manifest(path, /*verify_files=*/true).step);
    return steps;
  }
  // Trains until one rank out of `world`, whichever starts as the `asking`th, asks to stop before
  // step `step` + 1.
  Trained stop_after(const std::string& run, int world, int asking, int64_t step) {
    std::atomic<int> started{0};
    return train_world(dataset_, world, options(run), [&](Trainer& trainer) {
      const bool asks = started++ == asking;
      trainer.resume();
      StopCondition stop;
      stop.requested = [&, asks] { return asks && trainer.step() >= step; };
      EXPECT_FALSE(trainer.train(stop));
      EXPECT_EQ(trainer.step(), step) << "all ranks end after the same step";
    });
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
};

TEST_F(TrainerStopTest, AStartWithoutAStepSaysWhatItNeeds) {
  for (const int64_t steps : {0, 2}) {
    const std::string run = "after" + std::to_string(steps);
    static_cast<void>(stop_after(run, 1, 0, steps));
    std::ostringstream log;
    log << std::ifstream(directory_ / run + "/log.txt").rdbuf();
    EXPECT_THAT(log.str(), HasSubstr("ending with step " + std::to_string(steps)));
    EXPECT_EQ(log.str().find("this start took no step") == std::string::npos, steps > 0);
  }
}

TEST_F(TrainerStopTest, OneRankStopsAllAndNothingIsLost) {
  const Trained expected = train_world(dataset_, 3, options("whole"));
  for (const int asking : {0, 2}) {
    SCOPED_TRACE(asking);
    const std::string run = "run" + std::to_string(asking);
    stop_after(run, 3, asking, 7);
    EXPECT_THAT(saved_steps(run), ElementsAre(7));
    stop_after(run, 3, asking, 13);
    const Trained found = train_world(dataset_, 3, options(run));
    EXPECT_EQ(found.losses, expected.losses);
    for (const auto& [name, tensor] : expected.weights)
      EXPECT_TRUE(torch::equal(found.weights.at(name), tensor)) << name;
  }
}

TEST_F(TrainerStopTest, BeforeTheFirstStepLeavesACheckpointOfStepZero) {
  const Trained expected = train_world(dataset_, 2, options("whole"));
  stop_after("run", 2, 1, 0);
  EXPECT_THAT(saved_steps("run"), ElementsAre(0));
  EXPECT_EQ(train_world(dataset_, 2, options("run")).losses, expected.losses);
}

TEST_F(TrainerStopTest, PretrainingOfItemRowsEndsAtOnceAndBeginsAgain) {
  const auto pretrained = [&](const std::string& run) {
    TrainerOptions with_rows = options(run);
    with_rows.item.table.placement = ItemPlacement::kRowSharded;
    with_rows.item.table.dim = 4;
    with_rows.item.table.pretrain_steps = 12;
    return with_rows;
  };
  const Trained expected = train_world(dataset_, 2, pretrained("whole"));
  std::atomic<int> polls{0};
  static_cast<void>(train_world(dataset_, 2, pretrained("run"), [&](Trainer& trainer) {
    trainer.resume();
    StopCondition stop;
    stop.requested = [&] { return ++polls > 9; };
    EXPECT_FALSE(trainer.train(stop));
  }));
  EXPECT_LT(polls, 13) << "all ranks end after the same step";
  EXPECT_THAT(saved_steps("run"), ElementsAre());
  EXPECT_EQ(train_world(dataset_, 2, pretrained("run")).losses, expected.losses);
}

TEST_F(TrainerStopTest, StoppingWhereACheckpointIsSavesNone) {
  stop_after("run", 2, 0, 10);
  const auto written = fs::last_write_time(directory_ / "run/checkpoints/step-000000010");
  stop_after("run", 2, 0, 10);
  EXPECT_EQ(fs::last_write_time(directory_ / "run/checkpoints/step-000000010"), written);
  EXPECT_THAT(saved_steps("run"), ElementsAre(10));
}

TEST_F(TrainerStopTest, DeadlineStopsInTime) {
  static_cast<void>(train_world(dataset_, 2, options("late"), [](Trainer& trainer) {
    trainer.resume();
    EXPECT_FALSE(trainer.train({{}, StopCondition::Clock::now()}));
    EXPECT_EQ(trainer.step(), 0);
  }));
  EXPECT_THAT(saved_steps("late"), ElementsAre(0));
  static_cast<void>(train_world(dataset_, 2, options("early"), [](Trainer& trainer) {
    trainer.resume();
    EXPECT_TRUE(trainer.train({{}, StopCondition::Clock::now() + std::chrono::hours(10)}));
  }));
  EXPECT_THAT(saved_steps("early"), ElementsAre(10, 20));
}

TEST(TrainerStopReserve, GrowsWithSavesAndSteps) {
  EXPECT_GT(stop_reserve_seconds(0, 0), 0);
  EXPECT_GE(stop_reserve_seconds(3, 0), stop_reserve_seconds(0, 0) + 3);
  EXPECT_GE(stop_reserve_seconds(0, 5), stop_reserve_seconds(0, 0) + 10)
      << "one save may be under way and another comes after it";
}

TEST(TrainerStopReserve, HoldsWhatFollowsTheStepAndNoPause) {
  using std::chrono::milliseconds;
  constexpr double kSave = 0.01;
  const auto stop_in = [](double seconds) {
    return StopCondition{
        {}, StopCondition::Clock::now() + milliseconds(static_cast<int64_t>(1000 * seconds))};
  };
  const double left = stop_reserve_seconds(0, kSave) + 5;
  EXPECT_FALSE(StopClock().due(stop_in(left), kSave));
  EXPECT_TRUE(StopClock().due(stop_in(left), kSave, /*after_seconds=*/3)) << "twice 3 s of 5 s";
  StopClock waited;
  const double short_time = stop_reserve_seconds(0, kSave) + 0.5;
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_TRUE(waited.due(stop_in(short_time), kSave)) << "a step took 0.3 s";
  StopClock fresh;
  fresh.pause([] { std::this_thread::sleep_for(milliseconds(300)); });
  EXPECT_FALSE(fresh.due(stop_in(short_time), kSave));
}

TEST_F(TrainerStopTest, FailedSaveEndsAllRanks) {
  std::atomic<int> failed{0};
  const TrainerOptions run = options("run");
  fs::create_directories(run.run.directory);
  static_cast<void>(train_world(dataset_, 3, run, [&](Trainer& trainer) {
    trainer.resume();
    std::ofstream(directory_ / "run/checkpoints") << "a file where the directory should be";
    try {
      trainer.train();
    } catch (const IoError&) {
      ++failed;
    }
  }));
  EXPECT_EQ(failed, 3);
}

TEST_F(TrainerStopTest, AnotherRunsCheckpointIsABeginning) {
  const Trained whole = train_world(dataset_, 2, options("whole"));
  const std::string from = directory_ / "whole/checkpoints/step-000000010";
  const auto begin_with = [&](const std::string& path, int64_t expected) {
    return train_world(dataset_, 2, options("fork"), [&, expected](Trainer& trainer) {
      trainer.resume({}, path);
      EXPECT_EQ(trainer.step(), expected);
      trainer.train();
    });
  };
  const Trained fork = begin_with(from, 10);
  for (const auto& [name, tensor] : whole.weights)
    EXPECT_TRUE(torch::equal(fork.weights.at(name), tensor)) << name;
  EXPECT_THAT(saved_steps("fork"), ElementsAre(20));
  // A job that is started again goes on, whatever became of where it began.
  begin_with(from, 20);
  begin_with(directory_ / "removed meanwhile", 20);
}

TEST_F(TrainerStopTest, GoingBackInARunIsRefused) {
  static_cast<void>(train_world(dataset_, 1, options("run")));
  static_cast<void>(train_world(dataset_, 1, options("run"), [&](Trainer& trainer) {
    for (const std::string ending : {"", "/"})
      EXPECT_THROW(trainer.resume({}, directory_ / ("run/checkpoints/step-000000010" + ending)),
                   CheckpointError)
          << ending;
    trainer.resume({}, directory_ / "run/checkpoints/step-000000020");
    EXPECT_EQ(trainer.step(), 20);
  }));
}

}  // namespace
}  // namespace pinnerformer
