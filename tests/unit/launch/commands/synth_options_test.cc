// Every option of `pinnerformer synth` changes the dataset as the option of the library does.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/import/synthetic.h"
#include "launch/commands/registry.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

const std::vector<std::string> kSmall = {"--users",  "20", "--items",        "60",
                                         "--topics", "6",  "--vector-width", "4"};

SyntheticOptions small_options() {
  SyntheticOptions options;
  options.users = 20;
  options.items = 60;
  options.topics = 6;
  options.vector_width = 4;
  return options;
}

class SynthOptionsTest : public testing::Test {
 protected:
  [[nodiscard]] std::string written(const std::vector<std::string>& words) const {
    Arguments arguments = kSmall;
    arguments.insert(arguments.end(), words.begin(), words.end());
    arguments.insert(arguments.end(), {"--out", directory_ / "command", "--overwrite"});
    testing::internal::CaptureStdout();
    const int code = command_synth(arguments);
    testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, kDone);
    return Dataset::open(directory_ / "command").fingerprint();
  }
  [[nodiscard]] std::string expected(SyntheticOptions options) const {
    options.out = directory_ / "library";
    options.overwrite = true;
    write_synthetic_dataset(options);
    return Dataset::open(options.out).fingerprint();
  }
  void expect_same(const std::vector<std::string>& words,
                   const std::function<void(SyntheticOptions&)>& change) const {
    SyntheticOptions options = small_options();
    change(options);
    const std::string found = written(words);
    EXPECT_EQ(found, expected(options)) << words.front();
    EXPECT_NE(found, expected(small_options())) << words.front() << " has no effect";
  }

  TemporaryDirectory directory_;
};

TEST_F(SynthOptionsTest, EachIsThatOfTheDataset) {
  EXPECT_EQ(written({}), expected(small_options()));
  expect_same({"--seed", "7"}, [](SyntheticOptions& options) { options.seed = 7; });
  expect_same({"--days", "30"}, [](SyntheticOptions& options) { options.days = 30; });
  expect_same({"--exploration", "0.8"},
              [](SyntheticOptions& options) { options.exploration = 0.8; });
  expect_same({"--drift", "0.5"}, [](SyntheticOptions& options) { options.drift_per_day = 0.5; });
  expect_same({"--events-per-user", "30"},
              [](SyntheticOptions& options) { options.events_per_user = 30; });
}

}  // namespace
}  // namespace pinnerformer
