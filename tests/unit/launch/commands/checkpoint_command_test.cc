// `pinnerformer checkpoint diff` lists whatever makes two checkpoints differ; `prune` keeps what it
// is told to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "launch/commands/registry.h"
#include "tests/support/dataset_fixture.h"
#include "trainer/checkpoint/checkpoint.h"

namespace pinnerformer {
namespace {

class CheckpointCommandDiff : public testing::Test {
 protected:
  CheckpointCommandDiff() {
    first_.info.step = 5;
    first_.info.dataset_fingerprint = "0123abcd";
    first_.config = to_yaml(RunConfig());
    first_.data = "{\"actions\": []}\n";
    first_.model = {{"w", torch::ones({2})}};
    first_.training = {{"m", torch::ones({2})}};
  }
  // What --json says of the first checkpoint and this one.
  [[nodiscard]] nlohmann::json difference_to(const Checkpoint& second) const {
    const TemporaryDirectory directory;
    const std::string one = save_checkpoint(directory / "one", first_);
    const std::string two = save_checkpoint(directory / "two", second);
    const std::string file = directory / "diff.json";
    testing::internal::CaptureStdout();
    const int code = command_checkpoint({"diff", one, two, "--json", file});
    testing::internal::GetCapturedStdout();
    auto told = nlohmann::json::parse(content_of(file));
    EXPECT_EQ(code == kDone, told.at("same").get<bool>());
    return told;
  }
  static std::vector<std::string> manifest_of(const nlohmann::json& told) {
    return told.at("manifest").get<std::vector<std::string>>();
  }

  Checkpoint first_;
};

TEST_F(CheckpointCommandDiff, TheSameIsTheSame) {
  EXPECT_TRUE(difference_to(first_).at("same").get<bool>());
}

TEST_F(CheckpointCommandDiff, AFileOfTheDataAloneIsListed) {
  Checkpoint second = first_;
  second.data = "{\"actions\": [\"save\"]}\n";
  const auto told = difference_to(second);
  EXPECT_FALSE(told.at("same").get<bool>());
  EXPECT_THAT(manifest_of(told), testing::ElementsAre("data.json differs"));
}

TEST_F(CheckpointCommandDiff, ValidationsAloneAreListed) {
  Checkpoint second = first_;
  second.info.best = {.step = 4, .recall_at_10 = .25, .validations_since = 1};
  const auto told = difference_to(second);
  EXPECT_FALSE(told.at("same").get<bool>());
  EXPECT_THAT(manifest_of(told), testing::SizeIs(3));
}

TEST_F(CheckpointCommandDiff, ATensorIsListedWithItsLargestDifference) {
  Checkpoint second = first_;
  second.model = {{"w", torch::tensor({1.F, 1.5F})}};
  const auto told = difference_to(second);
  EXPECT_FALSE(told.at("same").get<bool>());
  EXPECT_THAT(manifest_of(told), testing::IsEmpty());
  const auto& tensor = told.at("tensors").at("w");
  EXPECT_EQ(tensor.at("elements").get<int64_t>(), 1);
  EXPECT_EQ(tensor.at("largest_absolute").get<double>(), .5);
}

TEST(CheckpointCommandPrune, KeepsTheNewestAndTheMultiples) {
  const TemporaryDirectory directory;
  const std::string run = directory / "run";
  for (const int64_t step : {2, 4, 6, 8}) {
    Checkpoint checkpoint;
    checkpoint.info.step = step;
    checkpoint.info.dataset_fingerprint = "0123abcd";
    checkpoint.config = to_yaml(RunConfig());
    checkpoint.model = {{"w", torch::ones({2})}};
    checkpoint.training = {{"m", torch::ones({2})}};
    static_cast<void>(save_checkpoint(run + "/checkpoints", checkpoint));
  }
  const std::string file = directory / "prune.json";
  testing::internal::CaptureStdout();
  const int code =
      command_checkpoint({"prune", run, "--keep-last", "1", "--keep-every", "4", "--json", file});
  testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, kDone);
  const auto told = nlohmann::json::parse(content_of(file));
  ASSERT_EQ(told.size(), 1U);
  const auto kept = told.begin().value().at("kept").get<std::vector<std::string>>();
  EXPECT_THAT(kept, testing::UnorderedElementsAre(testing::EndsWith("step-000000004"),
                                                  testing::EndsWith("step-000000008")));
  EXPECT_FALSE(std::filesystem::exists(run + "/checkpoints/step-000000006"));
}

}  // namespace
}  // namespace pinnerformer
