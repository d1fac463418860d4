// `pinnerformer explain` follows the user and the step that are asked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "launch/commands/registry.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

// 47 users, of which some are held out: an epoch has at most five steps of ten users.
TEST(ExplainOptions, TheFirstStepFromTheOneGiven) {
  const TemporaryDirectory directory;
  const std::string path = write_tiny_dataset(directory.path(), 47);
  const Dataset dataset = Dataset::open(path);
  std::string user;  // is trained on (split.users_percent=20) and has many positives
  for (int64_t row = 0; row < dataset.users(); ++row) {
    const Timeline timeline = dataset.timeline(row);
    const auto saves = std::ranges::count_if(timeline.action, [&](int16_t action) {
      return dataset.actions()[static_cast<size_t>(action)] == "save";
    });
    if (dataset.user_hash(row) % 100 >= 20 && saves >= 6) user = dataset.user_id(row);
  }
  ASSERT_NE(user, "");
  const std::string config =
      write_file(directory / "config.yaml", to_yaml(tiny_config(path, directory / "run")));
  const auto step_from = [&](const std::string& first) {
    const std::string file = directory / "explain.json";
    testing::internal::CaptureStdout();
    const int code = command_explain(
        {"--config", config, "train.steps=60", "--user", user, "--step", first, "--json", file});
    testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, kDone);
    const auto told = nlohmann::json::parse(content_of(file));
    EXPECT_EQ(told.at("user").get<std::string>(), user);
    return told.at("step").get<int64_t>();
  };
  const int64_t first = step_from("1");
  EXPECT_EQ(step_from(std::to_string(first)), first);
  EXPECT_GT(step_from(std::to_string(first + 1)), first);
}

}  // namespace
}  // namespace pinnerformer
