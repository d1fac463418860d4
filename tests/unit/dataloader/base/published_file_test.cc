// Files published by rename: whole or not at all, nothing left over, only regular files replaced.
#include "dataloader/base/published_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "dataloader/base/temporary.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/fault_injection.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

TEST(PublishedFile, AppearsWholeAndReplaces) {
  const TemporaryDirectory directory;
  const std::string target = directory / "deep/file";
  PublishedFile file(target);
  file.file().append("one", 3);
  EXPECT_FALSE(fs::exists(target)) << "before publish()";
  file.publish();
  EXPECT_EQ(content_of(target), "one");
  publish_text(target, "second");
  EXPECT_EQ(content_of(target), "second");
  EXPECT_THAT(names_in(directory / "deep"), ElementsAre("file"));
}

TEST(PublishedFile, IsRemovedUnpublished) {
  const TemporaryDirectory directory;
  publish_text(directory / "file", "old");
  { PublishedFile(directory / "file").file().append("new", 3); }
  EXPECT_EQ(content_of(directory / "file"), "old");
  EXPECT_THAT(names_in(directory.path()), ElementsAre("file"));
}

TEST(PublishedFile, WritesBesideAnotherName) {
  const TemporaryDirectory directory;
  fs::create_directory(directory / "set");
  PublishedFile file(directory / "set/items", directory / "set.items");
  EXPECT_THAT(file.path(), testing::StartsWith(directory / "set.items.tmp-"));
  file.publish();
  EXPECT_THAT(names_in(directory / "set"), ElementsAre("items"));
}

TEST(PublishedFile, ModesFollowTheUmask) {
  const TemporaryDirectory directory;
  const mode_t before = ::umask(0027);
  publish_text(directory / "file", "x");
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat((directory / "file").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST(PublishedFile, RefusesWhatIsNoRegularFile) {
  const TemporaryDirectory directory;
  ASSERT_EQ(::mkfifo((directory / "pipe").c_str(), 0600), 0);
  fs::create_directory(directory / "folder");
  publish_text(directory / "secret", "kept");
  fs::create_symlink(directory / "secret", directory / "link");
  fs::create_symlink(directory / "nothing", directory / "dangling");
  for (const auto& [name, kind] :
       {std::pair("pipe", "a pipe"), std::pair("folder", "a directory"),
        std::pair("link", "a symbolic link"), std::pair("dangling", "a symbolic link")})
    EXPECT_THAT(message_of<IoError>([&, target = directory / name] { publish_text(target, "x"); }),
                AllOf(HasSubstr(directory / name), HasSubstr(kind)));
  EXPECT_THAT(message_of<IoError>([] { check_replaceable("/dev/null"); }), HasSubstr("a device"));
  EXPECT_EQ(content_of(directory / "secret"), "kept");
  EXPECT_THAT(names_in(directory.path()),
              ElementsAre("dangling", "folder", "link", "pipe", "secret"));
}

TEST(PublishedFile, RefusesWhatAppearsMeanwhile) {
  const TemporaryDirectory directory;
  PublishedFile file(directory / "file");
  ASSERT_EQ(::mkfifo((directory / "file").c_str(), 0600), 0);
  EXPECT_THAT(message_of<IoError>([&] { file.publish(); }), HasSubstr("a pipe"));
  EXPECT_TRUE(fs::is_fifo(directory / "file"));
}

// Whoever can write to the directory cannot guess the temporary name, and knows none of it from an
// earlier run.
TEST(PublishedFile, TemporaryNameIsNeverTheSame) {
  const TemporaryDirectory directory;
  const PublishedFile one(directory / "file");
  const PublishedFile two(directory / "file");
  EXPECT_NE(one.path(), two.path());
  EXPECT_GT(one.path().size(), (directory / "file.tmp-").size() + 10);
}

TEST(PublishedFile, FollowsNoLinkUnderATemporaryName) {
  const TemporaryDirectory directory;
  publish_text(directory / "secret", "kept");
  fs::create_symlink(directory / "secret", directory / "file.tmp-1-2");
  EXPECT_THROW(File::create_new(directory / "file.tmp-1-2"), IoError);
  publish_text(directory / "file", "x");
  EXPECT_EQ(content_of(directory / "secret"), "kept");
  EXPECT_TRUE(fs::is_symlink(directory / "file.tmp-1-2"));
}

TEST(PublishedFile, RemovesWhatKilledProcessesLeft) {
  const TemporaryDirectory directory;
  for (const char* name : {"file.tmp-1-2", "file.tmp-notes", "file.tmp-1-", "files.tmp-1-2"})
    write_file(directory / name, "x");
  const PublishedFile in_use(directory / "file");
  publish_text(directory / "file", "x");
  EXPECT_THAT(names_in(directory.path()),
              ElementsAre("file", "file.tmp-1-", fs::path(in_use.path()).filename().string(),
                          "file.tmp-notes", "files.tmp-1-2"));
}

TEST(PublishedFile, UnwritableDirectoryIsNamed) {
  const TemporaryDirectory directory;
  write_file(directory / "file", "x");
  EXPECT_THAT(message_of<IoError>([&] { publish_text(directory / "file/result", "x"); }),
              AllOf(HasSubstr(directory / "file"), HasSubstr("Not a directory")));
}

class PublishedFileFaults : public testing::TestWithParam<Fault> {};

// Every call of the publication fails in turn: an IoError, the old content, nothing left over. Once
// renamed, the content is the new one.
TEST_P(PublishedFileFaults, LeaveTheOldFile) {
  const TemporaryDirectory directory;
  const std::string target = directory / "file";
  int64_t failures = 0;
  for (int64_t call = 0;; ++call) {
    publish_text(target, "old");
    arm_faults({.below = directory.path(), .fault = GetParam(), .first = call});
    const std::string error = message_of<IoError>([&] { publish_text(target, "new"); });
    const bool met = calls_seen() > call;
    disarm_faults();
    if (!met) break;
    EXPECT_THAT(names_in(directory.path()), ElementsAre("file")) << "call " << call;
    if (error == "no error") continue;
    EXPECT_THAT(error, HasSubstr(directory.path())) << "call " << call;
    EXPECT_THAT(content_of(target), AnyOf("old", "new")) << "call " << call;
    ++failures;
  }
  EXPECT_GE(failures, 4) << "create, write, sync, rename";
}

INSTANTIATE_TEST_SUITE_P(PublishedFile, PublishedFileFaults,
                         testing::Values(Fault::kNoSpace, Fault::kIoError));

int64_t publish_in_child(const std::string& directory, Fault fault, int64_t call) {
  const pid_t child = ::fork();
  if (child == 0) {
    arm_faults({.below = directory, .fault = fault, .first = call});
    publish_text(directory + "/file", "new");
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// Killed before, in the middle of and after every call: a whole file, and the next publication
// removes what was left.
TEST(PublishedFile, SurvivesAKillAtAnyCall) {
  for (const Fault fault : {Fault::kKillBefore, Fault::kTornWrite, Fault::kKillAfter}) {
    const TemporaryDirectory directory;
    int64_t call = 0;
    for (;; ++call) {
      publish_text(directory / "file", "old");
      if (publish_in_child(directory.path(), fault, call) != SIGKILL) break;
      EXPECT_THAT(content_of(directory / "file"), AnyOf("old", "new")) << "call " << call;
    }
    EXPECT_GE(call, 5) << "create, write, sync, rename, sync";
    EXPECT_THAT(names_in(directory.path()), ElementsAre("file"));
  }
}

}  // namespace
}  // namespace pinnerformer
