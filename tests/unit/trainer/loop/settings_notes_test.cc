// What a log says of settings before the first step.
#include "trainer/loop/settings_notes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TrainerOptions quiet() {
  TrainerOptions options;
  options.train.precision = Precision::kFp32;
  options.train.steps = 1000;
  options.optimizer.warmup_steps = 1000;
  options.validate.every_steps = 100;
  options.validate.patience = 5;
  options.checkpoint.every_steps = 200;
  options.checkpoint.keep_every = 600;
  return options;
}

TEST(SettingsNotes, NothingIsSaidOfSettingsThatHaveTheirEffect) {
  EXPECT_THAT(settings_notes(quiet(), torch::kCPU), IsEmpty());
  TrainerOptions options = quiet();
  options.validate = {};
  options.item.table.placement = ItemPlacement::kReplicated;
  options.item.table.dim = 32;
  options.checkpoint.keep_every = 0;
  EXPECT_THAT(settings_notes(options, torch::kCPU), IsEmpty());
}

TEST(SettingsNotes, ThoseWithoutEffectAreNamed) {
  TrainerOptions options = quiet();
  options.optimizer.warmup_steps = 1001;
  EXPECT_THAT(settings_notes(options, torch::kCPU),
              ElementsAre(HasSubstr("optimizer.warmup_steps=1001 is more than train.steps=1000")));
  options = quiet();
  options.validate.every_steps = 0;
  EXPECT_THAT(settings_notes(options, torch::kCPU),
              ElementsAre(HasSubstr("validate.patience=5 has no effect")));
  options = quiet();
  options.checkpoint.keep_every = 500;
  EXPECT_THAT(settings_notes(options, torch::kCPU), ElementsAre(HasSubstr("one in 1000 steps")));
  options = quiet();
  options.item.table.dim = 32;
  options.item.table.hash_buckets = 1000;
  EXPECT_THAT(settings_notes(options, torch::kCPU),
              ElementsAre(HasSubstr("effect: item.table.dim, item.table.hash_buckets; item.tab")));
}

TEST(SettingsNotes, StandInTheLog) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_tiny_dataset(directory.path(), 20));
  TrainerOptions options = tiny_trainer_options(directory / "run");
  options.train.steps = 2;
  options.optimizer.warmup_steps = 3;
  static_cast<void>(train_world(dataset, 1, options));
  std::ostringstream log;
  log << std::ifstream(options.run.directory + "/log.txt").rdbuf();
  EXPECT_THAT(log.str(), HasSubstr("optimizer.warmup_steps=3 is more than train.steps=2"));
}

}  // namespace
}  // namespace pinnerformer
