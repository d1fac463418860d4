// `pinnerformer verify-resume` finds the same bits whatever is logged, saved and validated beside
// the steps: none of that is a difference of the trainings.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launch/commands/registry.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

class VerifyResumeTest : public testing::Test {
 protected:
  VerifyResumeTest() : path_(write_tiny_dataset(directory_.path(), 47)) {}

  void expect_same(const std::vector<std::string>& words, int64_t steps) {
    const std::string config = write_file(
        directory_ / "config.yaml", to_yaml(tiny_config(path_, directory_ / "unused", words)));
    const std::string answer = directory_ / "answer.json";
    testing::internal::CaptureStdout();
    const int code = command_verify_resume(
        Arguments{"--config", config, "--steps", std::to_string(steps), "--json", answer});
    testing::internal::GetCapturedStdout();
    const auto told = nlohmann::json::parse(content_of(answer));
    EXPECT_EQ(code, kDone) << told.dump();
    EXPECT_TRUE(told.at("same").get<bool>()) << told.dump();
  }

  TemporaryDirectory directory_;
  std::string path_;
};

// The second run begins between two records of the first one.
TEST_F(VerifyResumeTest, RecordsNeedNotFallOnTheCheckpoint) {
  expect_same({"train.log_every=3"}, 2);
}

// The first run would save the rows that changed since the middle, the second one the whole table.
TEST_F(VerifyResumeTest, TablesAreSavedWhole) {
  expect_same({"checkpoint.table_full_every=3", "train.global_batch_users=2", "model.max_length=3",
               "objective.max_labels=2", "objective.positions=2", "negatives.in_batch=1",
               "negatives.random=1"},
              1);
}

// The first run would end where its patience does; the second one counts validations anew.
TEST_F(VerifyResumeTest, ValidationsEndNoTraining) {
  expect_same(
      {"validate.every_steps=1", "validate.patience=1", "optimizer.learning_rate=1e-12",
       "split.validation_percent=70", "split.window_days=15", "split.min_events=1",
       "positives.actions=save,view", "train.global_batch_users=2", "item.table.placement=none"},
      2);
}

}  // namespace
}  // namespace pinnerformer
