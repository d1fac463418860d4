// A second directory of checkpoints whose errors never reach the training.
#include "trainer/checkpoint/checkpoint_mirror.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>

#include "tests/support/dataset_fixture.h"
#include "tests/support/fault_injection.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_list.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kMostWait = std::chrono::seconds(60);

std::string save_step(const std::string& directory, int64_t step) {
  Checkpoint checkpoint;
  checkpoint.info.step = step;
  checkpoint.model = {{"w", torch::full({64, 64}, static_cast<double>(step))}};
  return save_checkpoint(directory, checkpoint);
}

CheckpointOptions mirrored(const std::string& directory) {
  CheckpointOptions options;
  options.keep_last = 2;
  options.mirror = directory;
  return options;
}

std::vector<std::string> advance_to_the_end(CheckpointMirror& mirror) {
  std::vector<std::string> notes;
  while (mirror.busy())
    for (const std::string& line : mirror.advance(kMostWait)) notes.push_back(line);
  return notes;
}

TEST(CheckpointMirror, KeepsAsManyAsTheRun) {
  const TemporaryDirectory directory;
  CheckpointMirror mirror(mirrored(directory / "mirror"));
  EXPECT_FALSE(mirror.busy());
  for (const int64_t step : {1, 2, 3}) {
    mirror.add(save_step(directory / "run", step));
    EXPECT_THAT(advance_to_the_end(mirror), ElementsAre(HasSubstr("copied")));
  }
  EXPECT_THAT(list_checkpoints(directory / "mirror"),
              ElementsAre(checkpoint_path(directory / "mirror", 2),
                          checkpoint_path(directory / "mirror", 3)));
}

TEST(CheckpointMirror, OfSeveralThatWaitTheLastIsCopied) {
  const TemporaryDirectory directory;
  CheckpointMirror mirror(mirrored(directory / "mirror"));
  for (const int64_t step : {1, 2, 3}) mirror.add(save_step(directory / "run", step));
  static_cast<void>(advance_to_the_end(mirror));
  EXPECT_THAT(list_checkpoints(directory / "mirror"),
              ElementsAre(checkpoint_path(directory / "mirror", 3)));
}

TEST(CheckpointMirror, AFullDiskIsANoteAndTheNextCheckpointIsTriedAgain) {
  const TemporaryDirectory directory;
  CheckpointMirror mirror(mirrored(directory / "mirror"));
  const std::string first = save_step(directory / "run", 1);
  arm_faults({directory / "mirror", Fault::kNoSpace, 0, 1000});
  mirror.add(first);
  EXPECT_THAT(advance_to_the_end(mirror),
              ElementsAre(AllOf(HasSubstr("no copy of " + first), HasSubstr("Training goes on"))));
  disarm_faults();
  mirror.add(save_step(directory / "run", 2));
  EXPECT_THAT(advance_to_the_end(mirror), ElementsAre(HasSubstr("copied")));
}

TEST(CheckpointMirror, ACheckpointThatIsGoneSaysThatSavesAreTooClose) {
  const TemporaryDirectory directory;
  CheckpointMirror mirror(mirrored(directory / "mirror"));
  mirror.add(directory / "run/step-000000001");
  EXPECT_THAT(advance_to_the_end(mirror), ElementsAre(HasSubstr("checkpoint.keep_last")));
}

}  // namespace
}  // namespace pinnerformer
