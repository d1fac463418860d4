// One training per run directory, also where the file system has no locks.
#include "launch/job/run_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/failing_locks.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(RunLock, ASecondTrainingIsRefusedUntilTheFirstEnds) {
  const TemporaryDirectory directory;
  const std::string run = directory / "run";
  {
    const RunLock first(run, 0);
    EXPECT_THAT(message_of<IoError>([&] { const RunLock second(run, .2); }),
                HasSubstr("run is in use by another training"));
  }
  EXPECT_NO_THROW(RunLock(run, 0));
}

TEST(RunLock, WithoutLocksTheTrainingGoesOnWithAWarning) {
  const TemporaryDirectory directory;
  const FailingLocks no_locks;
  testing::internal::CaptureStderr();
  EXPECT_NO_THROW(RunLock(directory.path(), 0));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("lock cannot be locked on this file system: make sure that no other job"));
}

TEST(RunLock, APlantedLinkIsNotFollowed) {
  const TemporaryDirectory directory;
  fs::create_symlink(directory / "elsewhere", directory / "lock");
  EXPECT_THAT(message_of<IoError>([&] { const RunLock lock(directory.path(), 0); }),
              HasSubstr("cannot write"));
  EXPECT_FALSE(fs::exists(directory / "elsewhere"));
}

}  // namespace
}  // namespace pinnerformer
