// Copies of checkpoints: whole or not at all.
#include "trainer/checkpoint/checkpoint_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/fault_injection.h"
#include "tests/support/message_of.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/manifest.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

Checkpoint copied_checkpoint(int64_t step) {
  Checkpoint checkpoint;
  checkpoint.info.step = step;
  checkpoint.config = "model:\n  hidden: 16\n";
  checkpoint.model = {{"w", torch::full({64, 64}, static_cast<double>(step))}};
  return checkpoint;
}

void damage(const std::string& checkpoint) {
  File file = File::open_for_update(checkpoint + "/" + kModelFile);
  const char byte = 0x55;
  file.write_at(file.size() - 1, &byte, 1);
}

std::vector<std::string> entries(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename());
  return names;
}

TEST(CheckpointCopy, IsTheSameToTheByteAndMayBeMadeTwice) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory / "run", copied_checkpoint(7));
  const std::string copy = copy_checkpoint(path, directory / "other/disk");
  EXPECT_EQ(copy, checkpoint_path(directory / "other/disk", 7));
  EXPECT_THAT(checkpoint_damage(copy), IsEmpty());
  for (const std::string& name : entries(path))
    EXPECT_EQ(digest_file(path + "/" + name).xxh3, digest_file(copy + "/" + name).xxh3) << name;
  EXPECT_EQ(copy_checkpoint(path, directory / "other/disk"), copy);
}

TEST(CheckpointCopy, OfADamagedCheckpointIsNone) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory / "run", copied_checkpoint(7));
  damage(path);
  EXPECT_THAT(message_of<CheckpointError>([&] { copy_checkpoint(path, directory / "copy"); }),
              AllOf(HasSubstr(kModelFile), HasSubstr("damaged")));
  EXPECT_THAT(entries(directory / "copy"), IsEmpty());
}

TEST(CheckpointCopy, NeverReplacesWhatIsThere) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory / "run", copied_checkpoint(7));
  Checkpoint other = copied_checkpoint(7);
  other.info.samples = 3;
  const std::string there = save_checkpoint(directory / "copy", other);
  EXPECT_THAT(message_of<IoError>([&] { copy_checkpoint(path, directory / "copy"); }),
              HasSubstr("is not a copy of"));
  damage(there);
  EXPECT_THAT(message_of<IoError>([&] { copy_checkpoint(path, directory / "copy"); }),
              HasSubstr("move it away"));
}

TEST(CheckpointCopy, LeavesNothingBehindWhereTheDiskIsFull) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory / "run", copied_checkpoint(7));
  fs::create_directory(directory / "copy");
  for (int64_t call = 0; call < 8; ++call) {
    arm_faults({directory / "copy", Fault::kNoSpace, call, 1000});
    EXPECT_THROW(copy_checkpoint(path, directory / "copy"), IoError) << call;
    disarm_faults();
    EXPECT_THAT(entries(directory / "copy"), IsEmpty()) << call;
  }
  arm_faults({directory / "copy", Fault::kIoError, 3, 1});
  EXPECT_NO_THROW(copy_checkpoint(path, directory / "copy")) << "an error that passes";
  disarm_faults();
}

}  // namespace
}  // namespace pinnerformer
