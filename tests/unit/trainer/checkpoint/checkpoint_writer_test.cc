// Saving behind the training: what is written is the state at the moment of start(), one save at a
// time, errors come out.
#include "trainer/checkpoint/checkpoint_writer.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using namespace std::chrono_literals;

Checkpoint live_state() {
  Checkpoint live;
  live.info = {1, {0, 0}, 8, 1, "0123", {}};
  live.config = "run: test\n";
  live.model = {{"w", torch::ones({100, 100})}};
  live.training = {{"m", torch::zeros({100, 100})}};
  return live;
}

TEST(CheckpointWriter, WritesTheStateAtTheStart) {
  const TemporaryDirectory directory;
  CheckpointWriter writer(directory.path(), {}, 80'000);
  EXPECT_FALSE(writer.finished(0ms));
  Checkpoint live = live_state();
  for (const int64_t step : {1, 2, 3}) {
    live.info.step = step;
    live.model["w"].fill_(static_cast<double>(step));
    writer.start(live);
    live.model["w"].fill_(-1);  // the training goes on
    EXPECT_TRUE(writer.busy());
    const auto save = writer.finished(60s);
    ASSERT_TRUE(save);
    EXPECT_FALSE(writer.busy());
    EXPECT_GT(save->bytes, 80'000);
    const Checkpoint found = load_checkpoint(save->path, /*training=*/true);
    EXPECT_TRUE(
        torch::equal(found.model.at("w"), torch::full({100, 100}, static_cast<double>(step))));
  }
}

TEST(CheckpointWriter, OneSaveAtATime) {
  const TemporaryDirectory directory;
  CheckpointWriter writer(directory.path(), {}, 80'000);
  writer.start(live_state());
  EXPECT_THROW(writer.start(live_state()), c10::Error);
}

TEST(CheckpointWriter, ErrorComesOutOnceAndTheNextSaveMayWork) {
  const TemporaryDirectory directory;
  CheckpointWriter writer(directory / "checkpoints", {}, 80'000);
  write_file(directory / "checkpoints", "in the way");
  writer.start(live_state());
  EXPECT_THROW(static_cast<void>(writer.finished(60s)), IoError);
  EXPECT_FALSE(writer.busy());
  std::remove((directory / "checkpoints").c_str());
  writer.start(live_state());
  EXPECT_TRUE(writer.finished(60s));
}

TEST(CheckpointWriter, ExpectsWhatTheLastSaveTook) {
  const TemporaryDirectory directory;
  CheckpointWriter writer(directory.path(), {}, 100'000'000'000);
  EXPECT_GE(writer.expected_seconds(), 100) << "a guess, from the size";
  writer.start(live_state());
  const auto save = writer.finished(60s);
  ASSERT_TRUE(save);
  EXPECT_DOUBLE_EQ(writer.expected_seconds(), save->seconds);
}

}  // namespace
}  // namespace pinnerformer
