// Files with a digest: what was written is what is read, nothing is overwritten.
#include "dataloader/base/durable_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <xxhash.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

TEST(DurableFile, DigestIsThatOfTheContent) {
  const TemporaryDirectory directory;
  const std::string content(100'003, 'x');
  const FileDigest digest = write_durable(directory / "file", content);
  EXPECT_EQ(content_of(directory / "file"), content);
  EXPECT_EQ(digest.bytes, 100'003);
  char expected[17];
  std::snprintf(expected, sizeof expected, "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(content.data(), content.size())));
  EXPECT_EQ(digest.xxh3, expected);
  EXPECT_EQ(digest_file(directory / "file").xxh3, digest.xxh3);
  EXPECT_EQ(digest_file(directory / "file").bytes, digest.bytes);
}

TEST(DurableFile, AnotherDigestIsRefusedAndBothAreNamed) {
  const TemporaryDirectory directory;
  const FileDigest digest = write_durable(directory / "file", "abc");
  const File file = File::open(directory / "file");
  EXPECT_NO_THROW(require_digest(file, digest, "list.json", "Copy it again"));
  for (const FileDigest& other :
       {FileDigest{4, digest.xxh3}, FileDigest{3, "0123456789abcdef"}, FileDigest{}}) {
    const std::string text = message_of<std::runtime_error>(
        [&] { require_digest(file, other, "list.json", "Copy it again"); });
    EXPECT_NE(text.find("expected " + std::to_string(other.bytes) + " bytes with XXH3 " +
                        other.xxh3 + " as list.json says, found 3 with " + digest.xxh3),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("Copy it again"), std::string::npos) << text;
  }
}

TEST(DurableFile, PiecesAddUpToTheWhole) {
  const TemporaryDirectory directory;
  DurableFile file(directory / "pieces");
  file.write("abc", 3);
  file.write("", 0);
  file.write("defgh", 5);
  const FileDigest digest = file.finish();
  EXPECT_EQ(content_of(directory / "pieces"), "abcdefgh");
  EXPECT_EQ(digest.xxh3, write_durable(directory / "whole", "abcdefgh").xxh3);
}

TEST(DurableFile, ExistingFileIsNeverOverwritten) {
  const TemporaryDirectory directory;
  write_durable(directory / "file", "first");
  EXPECT_THROW(write_durable(directory / "file", "second"), IoError);
  EXPECT_EQ(content_of(directory / "file"), "first");
}

TEST(DurableFile, EmptyFileIsAFile) {
  const TemporaryDirectory directory;
  const FileDigest digest = write_durable(directory / "empty", "");
  EXPECT_EQ(digest.bytes, 0);
  EXPECT_EQ(digest_file(directory / "empty").xxh3, digest.xxh3);
}

TEST(DurableFile, OneFlippedBitChangesTheDigest) {
  const TemporaryDirectory directory;
  std::string content(5'000'000, 'x');  // longer than the read buffer
  const FileDigest digest = write_durable(directory / "one", content);
  for (const size_t place : {size_t{0}, size_t{4'194'304}, content.size() - 1}) {
    content[place] ^= 1;
    write_file(directory / "two", content);
    EXPECT_NE(digest_file(directory / "two").xxh3, digest.xxh3) << place;
    content[place] ^= 1;
  }
}

TEST(DurableFile, FailuresNameTheFile) {
  const TemporaryDirectory directory;
  const std::string missing = directory / "no/such/place";
  EXPECT_NE(message_of<std::runtime_error>([&] { write_durable(missing, "x"); }).find(missing),
            std::string::npos);
  EXPECT_NE(message_of<std::runtime_error>([&] {
              static_cast<void>(digest_file(missing));
            }).find(missing),
            std::string::npos);
  EXPECT_NE(message_of<std::runtime_error>([&] { sync_directory_entries(missing); }).find(missing),
            std::string::npos);
}

[[noreturn]] void write_beyond_the_limit(const std::string& path) {
  const rlimit limit{1000, 1000};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    write_durable(path, std::string(5000, 'x'));
  } catch (const IoError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(3);
  }
  std::_Exit(0);
}

// A limit on the size of files stands in for a full disk: the write stops in the middle.
TEST(DurableFile, ShortWriteIsAnError) {
  const TemporaryDirectory directory;
  const std::string path = directory / "file";
  EXPECT_EXIT(write_beyond_the_limit(path), testing::ExitedWithCode(3), "cannot write .*/file");
}

}  // namespace
}  // namespace pinnerformer
