// What is added to a record, over which steps and ranks, and that a record forgets it.
#include "trainer/loop/step_log.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/dataset_fixture.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

constexpr double kPeakTflops = 3;

class StepLogTest : public testing::Test {
 protected:
  StepLogTest() {
    options_.run.directory = directory_.path();
    options_.train.steps = 10;
    options_.metrics.tensorboard = false;
    options_.metrics.peak_tflops = kPeakTflops;
  }

  // A step of `users` users over all ranks.
  static void add(StepLog& log, double loss, int64_t users = 10, double flops = 0,
                  bool has_pairs = true) {
    TrainingBatch batch;
    batch.global_slots = users;
    StepResult result;
    result.loss = torch::tensor(static_cast<float>(loss));
    result.grad_norm = torch::tensor(2.F);
    result.flops = flops;
    result.has_pairs = has_pairs;
    log.add(batch, result);
  }
  static void record(StepLog& log, int64_t step) {
    RunProgress progress;
    progress.step = step;
    log.record(progress, /*temperature=*/1);
  }
  // Those in metrics.jsonl, in their order.
  [[nodiscard]] std::vector<nlohmann::json> records() const {
    std::ifstream file(directory_ / "metrics.jsonl");
    std::vector<nlohmann::json> found;
    for (std::string line; std::getline(file, line);) found.push_back(nlohmann::json::parse(line));
    return found;
  }
  // Runs `body` with the log of each rank.
  void run(int world, const std::function<void(StepLog&, int)>& body) const {
    run_ranks(world, [&](Communicator& comm) {
      StepLog log(options_, Ranks{&comm, &comm, torch::kCPU}, "run: tiny\n");
      log.open(0);
      body(log, comm.rank());
      log.finish();
    });
  }

  TemporaryDirectory directory_;
  TrainerOptions options_;
};

TEST_F(StepLogTest, RatesAreOverTheTimeSinceTheLastRecord) {
  run(1, [](StepLog& log, int) {
    add(log, 1, /*users=*/1000, /*flops=*/1e9);
    record(log, 1);
    add(log, 1, /*users=*/10, /*flops=*/3e6);
    add(log, 1, /*users=*/7, /*flops=*/1e6);
    record(log, 3);
  });
  const auto found = records();
  ASSERT_EQ(found.size(), 2U);
  const double seconds = found[1].at("step_ms").get<double>() * 2 / 1000;
  EXPECT_NEAR(found[1].at("users_per_second").get<double>() * seconds, 17, 1e-6);
  EXPECT_NEAR(found[1].at("mfu").get<double>() * seconds * kPeakTflops * 1e12, 4e6, 1);
}

TEST_F(StepLogTest, WaitsAreThoseSinceTheLastRecord) {
  run(1, [](StepLog& log, int) {
    const auto wait = [] { std::this_thread::sleep_for(std::chrono::milliseconds(4)); };
    log.timers().data_wait.time(wait);
    log.timers().save_stall.time(wait);
    add(log, 1);
    add(log, 1);
    record(log, 2);
    add(log, 1);
    record(log, 3);
  });
  const auto found = records();
  ASSERT_EQ(found.size(), 2U);
  const auto first = [&](const char* key) { return found[0].at(key).get<double>(); };
  EXPECT_GE(first("data_wait_ms"), 2) << "per step";
  EXPECT_LT(first("data_wait_ms"), first("step_ms"));
  EXPECT_GE(first("save_stall_ms"), 4) << "in all";
  EXPECT_EQ(found[1].at("data_wait_ms"), 0);
  EXPECT_EQ(found[1].at("save_stall_ms"), 0);
}

TEST_F(StepLogTest, AStepWithoutPairsIsNoPartOfTheMean) {
  run(1, [](StepLog& log, int) {
    const auto add_empty = [&] { add(log, 0, 10, 0, /*has_pairs=*/false); };
    add(log, 4);
    add_empty();
    record(log, 2);
    add_empty();
    record(log, 3);
    EXPECT_DOUBLE_EQ(log.take_mean_loss().value_or(-1), 4);
  });
  EXPECT_EQ(records().at(0).at("loss"), 4);
  EXPECT_TRUE(records().at(1).at("loss").is_null());
}

// Each rank has its part of the loss of a step.
TEST_F(StepLogTest, TheLossIsSummedOverRanksAndAveragedOverSteps) {
  run(2, [](StepLog& log, int rank) {
    EXPECT_FALSE(log.take_mean_loss().has_value()) << "no step yet";
    add(log, rank == 0 ? 1 : 3);
    add(log, rank == 0 ? 2 : 4);
    record(log, 2);
    add(log, rank == 0 ? 3 : 5);
    record(log, 3);
    EXPECT_DOUBLE_EQ(log.take_mean_loss().value_or(-1), (4. + 6 + 8) / 3) << "of steps 1 to 3";
    EXPECT_FALSE(log.take_mean_loss().has_value());
    add(log, rank == 0 ? .5 : 1.5);
    record(log, 4);
    EXPECT_DOUBLE_EQ(log.take_mean_loss().value_or(-1), 2) << "of step 4";
  });
  const auto found = records();
  ASSERT_EQ(found.size(), 3U) << "one rank writes";
  EXPECT_EQ(found[0].at("loss"), 5);
  EXPECT_EQ(found[1].at("loss"), 8);
  EXPECT_EQ(found[2].at("loss"), 2);
  EXPECT_EQ(found[2].at("world_size"), 2);
}

// A step whose gradient is not finite has a loss of 0 and is no step of the mean.
TEST_F(StepLogTest, SkippedStepsAndValidationsStandInOneRecord) {
  run(1, [](StepLog& log, int) {
    ValidationResult validation;
    validation.metrics.recall_at_10 = .25;
    log.add_validation(validation);
    add(log, 3);
    add(log, 0);
    log.add_skipped_step();
    record(log, 2);
    add(log, 4);
    record(log, 3);
  });
  const auto found = records();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].at("loss"), 3);
  EXPECT_EQ(found[0].at("nonfinite_steps"), 1);
  EXPECT_EQ(found[0].at("validation").at("recall_at_10"), .25);
  EXPECT_EQ(found[1].at("loss"), 4);
  EXPECT_EQ(found[1].at("nonfinite_steps"), 0);
  EXPECT_FALSE(found[1].contains("validation"));
}

}  // namespace
}  // namespace pinnerformer
