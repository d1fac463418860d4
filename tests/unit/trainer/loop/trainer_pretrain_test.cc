// Item rows that are trained alone, before the model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "comm/thread_communicator.h"
#include "comm/watchdog/watchdog.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/recording_communicator.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"

namespace pinnerformer {
namespace {

using testing::Each;
using testing::SizeIs;
using testing::StartsWith;

TEST(TrainerPretrain, TheWatchdogIsToldOfEveryStep) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_tiny_dataset(directory.path(), 47));
  TrainerOptions options = tiny_trainer_options(directory / "run");
  options.item.table.placement = ItemPlacement::kReplicated;
  options.item.table.dim = 4;
  options.item.table.pretrain_steps = 3;
  options.train.steps = 1;
  std::filesystem::create_directories(options.run.directory);
  const auto comm = make_single_communicator();
  Watchdog watchdog(CommOptions{}, 0, {});
  std::vector<std::string> places;
  RecordingCommunicator recorder(*comm, [&](const std::string& event) {
    if (event == "start loss of the item rows") places.push_back(watchdog.describe(1, "loss"));
  });
  Trainer trainer(tiny_training_data(dataset), options, CommOptions{},
                  Ranks{&recorder, &recorder, torch::kCPU, &watchdog}, "run: tiny\n");
  trainer.resume();
  trainer.train();
  EXPECT_THAT(places, SizeIs(3));
  EXPECT_THAT(places, Each(StartsWith("step 1, 'item rows alone', ")));
}

}  // namespace
}  // namespace pinnerformer
