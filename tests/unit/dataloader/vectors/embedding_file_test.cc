// Vector files: what is written is read, versions do not mix, an older file is never damaged.
#include "dataloader/vectors/embedding_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "dataloader/base/errors.h"
#include "tests/support/damage.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const EmbeddingVersion kVersion{"weights", "encoder"};

EmbeddingFileShape shape_of(const std::string& group, const std::vector<std::string>& ids,
                            bool integers) {
  return {group, std::ssize(ids), 3, integers, [=, next = size_t{0}](int64_t count) mutable {
            IdColumn column(integers);
            for (int64_t i = 0; i < count; ++i, ++next) {
              if (integers) {
                column.push_back(int64_t{std::stoll(ids[next])});
              } else {
                column.push_back(std::string_view(ids[next]));
              }
            }
            return column;
          }};
}

void write_users(const std::string& path, const torch::Tensor& vectors) {
  std::vector<std::string> ids;
  for (int64_t i = 0; i < vectors.size(0); ++i) ids.push_back(std::to_string(7 * i));
  EmbeddingFileWriter writer(path, kVersion, {shape_of("/user", ids, true)});
  writer.write("/user", 0, vectors);
  writer.publish();
}

int64_t files_in(const std::string& directory) {
  return std::distance(fs::directory_iterator(directory), fs::directory_iterator());
}

TEST(EmbeddingFile, WhatIsWrittenInPiecesIsRead) {
  const TemporaryDirectory directory;
  const std::string path = directory / "new/vectors.h5";
  const torch::Tensor users = torch::randn({4, 3}), items = torch::randn({2, 3});
  {
    EmbeddingFileWriter writer(path, kVersion,
                               {shape_of("/user", {"5", "-7", "9", "11"}, true),
                                shape_of("/item", {"a", "a longer name"}, false)});
    writer.write("/user", 3, users.slice(0, 3, 4));
    writer.write("/item", 0, items);
    writer.write("/user", 0, users.slice(0, 0, 3));
    writer.publish();
  }
  const EmbeddingFileReader user(path, "/user"), item(path, "/item");
  EXPECT_TRUE(torch::equal(user.vectors(0, 4), users));
  EXPECT_TRUE(torch::equal(user.vectors(1, 2), users.slice(0, 1, 3)));
  EXPECT_TRUE(torch::equal(item.vectors(0, 2), items));
  EXPECT_EQ(user.ids(1, 2).numbers(), (std::vector<int64_t>{-7, 9}));
  EXPECT_EQ(item.ids(1, 1).text(0), "a longer name");
  EXPECT_EQ(user.width(), 3);
  EXPECT_EQ(user.version(), kVersion);
  EXPECT_EQ(item.version(), kVersion);
  EXPECT_EQ(files_in(directory / "new"), 1);
}

TEST(EmbeddingFile, ManyIdsAreWrittenInBlocks) {
  const TemporaryDirectory directory;
  std::vector<std::string> ids;
  for (int64_t i = 0; i < 70'000; ++i) ids.push_back(std::to_string(i * i));
  for (const bool integers : {true, false}) {
    const std::string path = directory / (integers ? "integers" : "strings");
    EmbeddingFileWriter(path, kVersion, {shape_of("/user", ids, integers)}).publish();
    const IdColumn found = EmbeddingFileReader(path, "/user").ids(65'000, 5000);
    for (int64_t i = 0; i < 5000; ++i)
      ASSERT_EQ(found.text(i), ids[static_cast<size_t>(65'000 + i)]) << i;
  }
}

TEST(EmbeddingFile, EmptySetIsASet) {
  const TemporaryDirectory directory;
  EmbeddingFileWriter(directory / "v", kVersion, {shape_of("/user", {}, true)}).publish();
  const EmbeddingFileReader reader(directory / "v", "/user");
  EXPECT_EQ(reader.rows(), 0);
  EXPECT_EQ(reader.vectors(0, 0).size(1), 3);
}

TEST(EmbeddingFile, UnpublishedLeavesTheOlderFileAndNothingElse) {
  const TemporaryDirectory directory;
  write_users(directory / "v", torch::ones({3, 3}));
  const std::string before = content_of(directory / "v");
  {
    EmbeddingFileWriter writer(directory / "v", kVersion, {shape_of("/user", {"1"}, true)});
    writer.write("/user", 0, torch::zeros({1, 3}));
    EXPECT_EQ(files_in(directory.path()), 2);
  }
  EXPECT_EQ(content_of(directory / "v"), before);
  EXPECT_EQ(files_in(directory.path()), 1);
}

TEST(EmbeddingFile, FileBeingReadMayBeReplaced) {
  const TemporaryDirectory directory;
  write_users(directory / "v", torch::ones({3, 3}));
  const EmbeddingFileReader old(directory / "v", "/user");
  write_users(directory / "v", torch::zeros({2, 3}));
  EXPECT_TRUE(torch::equal(old.vectors(0, 3), torch::ones({3, 3})));
  EXPECT_EQ(old.ids(2, 1).number(0), 14);
}

TEST(EmbeddingFile, EqualContentIsEqualBytes) {
  const TemporaryDirectory directory;
  write_users(directory / "a", torch::ones({3, 3}));
  write_users(directory / "b", torch::ones({3, 3}));
  EXPECT_EQ(content_of(directory / "a"), content_of(directory / "b"));
}

TEST(EmbeddingFile, OtherVersionsAreRefusedByName) {
  EXPECT_NO_THROW(require_version(kVersion, "f.h5", kVersion, "run"));
  EXPECT_THAT(
      message_of<DataError>([] {
        require_version({"w2", "encoder"}, "f.h5", kVersion, "run");
      }),
      AllOf(HasSubstr("f.h5"), HasSubstr("model version w2"), HasSubstr("run has weights")));
  EXPECT_THAT(message_of<DataError>([] {
                require_version({"weights", "e2"}, "f.h5", kVersion, "run");
              }),
              AllOf(HasSubstr("content version e2"), HasSubstr("run has encoder")));
}

TEST(EmbeddingFile, WhatIsNoVectorFileIsRefused) {
  const TemporaryDirectory directory;
  const auto error = [&](const std::string& name, const std::string& group = "/user") {
    return message_of<DataError>([&] { EmbeddingFileReader(directory / name, group); });
  };
  EXPECT_THROW(EmbeddingFileReader(directory / "none", "/user"), MissingInputError);
  write_file(directory / "text", "no HDF5");
  EXPECT_THAT(error("text"), HasSubstr("expected an HDF5 file"));
  H5File::create(directory / "other").close();
  EXPECT_THAT(error("other"), HasSubstr("no vector file"));
  write_users(directory / "users", torch::ones({2, 3}));
  EXPECT_THAT(error("users", "/item"), HasSubstr("has no item vectors"));
  write_users(directory / "cut", torch::ones({1000, 3}));
  fs::resize_file(directory / "cut", 4096);
  EXPECT_NE(error("cut"), "no error");
  H5File old = H5File::create(directory / "old");
  old.set_attribute("format", std::string("pinnerformer-vectors"));
  old.set_attribute("version", int64_t{1});
  old.close();
  EXPECT_THAT(error("old"), AllOf(HasSubstr("version 2"), HasSubstr("found 1")));
}

TEST(EmbeddingFile, ChangedVectorsAndIdsAreFoundByTheirChecksums) {
  const TemporaryDirectory directory;
  const std::string path = directory / "v";
  write_users(path, torch::ones({3, 3}));
  overwrite_element(path, "/user/vector", 4, 1.5f);
  const EmbeddingFileReader reader(path, "/user");
  EXPECT_THAT(message_of<DataError>([&] { static_cast<void>(reader.vectors(0, 1)); }),
              AllOf(HasSubstr("/user/vector, rows 0 to 2"), HasSubstr("checksum")));
  write_users(path, torch::ones({3, 3}));
  overwrite_element(path, "/user/id", 1, int64_t{8});
  EXPECT_THAT(message_of<DataError>([&] { EmbeddingFileReader(path, "/user"); }),
              AllOf(HasSubstr("/user/id"), HasSubstr("checksums")));
}

TEST(EmbeddingFile, EveryBlockHasItsChecksum) {
  const TemporaryDirectory directory;
  const std::string path = directory / "v";
  const torch::Tensor vectors = torch::randn({800'000, 3});  // 9.6 MB: three blocks
  write_users(path, vectors);
  EXPECT_TRUE(torch::equal(EmbeddingFileReader(path, "/user").vectors(0, 800'000), vectors));
  overwrite_element(path, "/user/vector", 2'399'999, 7.0f);
  const EmbeddingFileReader reader(path, "/user");
  EXPECT_NO_THROW(static_cast<void>(reader.vectors(0, 600'000)));
  EXPECT_THAT(message_of<DataError>([&] { static_cast<void>(reader.vectors(750'000, 1)); }),
              HasSubstr("checksum"));
}

// Files of others that hold such numbers: tests/cases/hostile_vector_kinds.py.
TEST(EmbeddingFile, NumbersThatAreNotFiniteAreNotWritten) {
  const TemporaryDirectory directory;
  torch::Tensor vectors = torch::ones({3, 3});
  vectors[2][1] = INFINITY;
  EXPECT_THAT(message_of<DataError>([&] { write_users(directory / "v", vectors); }),
              AllOf(HasSubstr("rows 0 to 2"), HasSubstr("not finite")));
  EXPECT_FALSE(std::filesystem::exists(directory / "v"));
}

TEST(EmbeddingFile, OtherWidthsAreRefusedAndChecksumsAreNoted) {
  const TemporaryDirectory directory;
  write_users(directory / "v", torch::ones({3, 3}));
  const EmbeddingFileReader reader(directory / "v", "/user");
  EXPECT_NO_THROW(require_width(reader, 3));
  EXPECT_THAT(message_of<DataError>([&] { require_width(reader, 4); }),
              AllOf(HasSubstr("expected vectors of 4"), HasSubstr("found 3")));
  EXPECT_EQ(checksum_note(reader), "");
}

TEST(EmbeddingFile, UnwritablePlaceIsAnIoError) {
  const TemporaryDirectory directory;
  write_file(directory / "file", "in the way");
  EXPECT_THROW(write_users(directory / "file/v", torch::ones({1, 3})), IoError);
}

}  // namespace
}  // namespace pinnerformer
