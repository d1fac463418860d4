// From a configuration to training data: training sees nothing after the evaluation time.
#include "launch/job/training_setup.h"

#include <gtest/gtest.h>

#include "dataloader/sampling/split.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

constexpr int64_t kStart = 1700006400;  // 2023-11-15, a midnight

std::string dataset_with_a_late_event(const std::string& directory) {
  std::vector<EventRow> rows;
  for (int64_t user = 1; user <= 50; ++user)
    for (int64_t day = 0; day < 10; ++day)
      rows.push_back({.user = user, .item = day, .action = "save", .time = kStart + day * kDay});
  rows.push_back({.user = 1, .item = 0, .action = "save", .time = kStart + 9000 * kDay});
  return write_dataset(directory, rows);
}

TEST(TrainingSetup, TrainingAndEvaluationHonourSplitEnd) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(dataset_with_a_late_event(directory.path()));
  RunConfig config;
  config.positives.actions = {"save"};
  config.split = {.users_percent = 40, .window_days = 3, .windows = 1, .end = "2023-11-24"};
  const TrainingData data = training_data(dataset, config);
  EXPECT_EQ(data.part.train_until, kStart + 6 * kDay);
  EXPECT_EQ(evaluation_start(dataset, config.split), data.part.train_until);
  EXPECT_EQ(evaluation_windows(data.part.train_until, config.split).back().end, kStart + 9 * kDay);
  config.split.end = "";
  EXPECT_EQ(training_data(dataset, config).part.train_until, kStart + 8997 * kDay);
}

TEST(TrainingSetup, WithNobodyHeldOutTrainingEndsAtSplitEnd) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(dataset_with_a_late_event(directory.path()));
  RunConfig config;
  config.positives.actions = {"save"};
  config.split = {.users_percent = 0, .end = "2023-11-20"};
  EXPECT_EQ(training_data(dataset, config).part.train_until, kStart + 5 * kDay);
}

TEST(TrainingSetup, SummaryUsesTheLabelWindowOfTheObjective) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(dataset_with_a_late_event(directory.path()));
  RunConfig config;
  config.positives.actions = {"save"};
  config.split = {.users_percent = 40, .window_days = 3, .windows = 1, .end = "2023-11-24"};
  config.objective.window_days = 1;
  EXPECT_GT(split_summary(dataset, config)->labelled_positions, 0);
  config.objective.window_days = 0.5;
  EXPECT_EQ(split_summary(dataset, config)->labelled_positions, 0);
}

}  // namespace
}  // namespace pinnerformer
