// What `doctor` finds in the folder of a run.
#include "launch/doctor/file_system_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

TEST(FileSystemChecks, WritesAreMeasuredAndLeaveNothing) {
  const TemporaryDirectory directory;
  const Check found = durable_write_check(directory.path());
  EXPECT_NE(found.health, Health::kFailed);
  EXPECT_THAT(found.finding, testing::ContainsRegex("fsync [0-9.e+-]+ ms, rename [0-9.e+-]+ ms"));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(FileSystemChecks, FoldersThatCannotBeWrittenFail) {
  const Check found = durable_write_check("/proc/self");
  EXPECT_EQ(found.health, Health::kFailed);
  EXPECT_THAT(found.finding, HasSubstr("open does not work in /proc/self"));
}

TEST(FileSystemChecks, NearestFolderThatExists) {
  const TemporaryDirectory directory;
  EXPECT_EQ(existing_folder(directory / "not/there/yet"), directory.path());
  EXPECT_EQ(existing_folder(directory.path()), directory.path());
  EXPECT_EQ(existing_folder("/no-such-folder"), "/");
}

TEST(FileSystemChecks, InodesAreCounted) {
  const TemporaryDirectory directory;
  EXPECT_NE(inode_check(directory.path()).health, Health::kFailed);
  EXPECT_THAT(inode_check("/proc").finding, HasSubstr("not counted"));
  EXPECT_EQ(inode_check("/no-such-folder").health, Health::kFailed);
}

}  // namespace
}  // namespace pinnerformer
