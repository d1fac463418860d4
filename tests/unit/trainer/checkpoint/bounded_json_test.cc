// Small files of a checkpoint are read only where they are regular files of a possible size.
#include "trainer/checkpoint/bounded_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string reading(const std::string& path) {
  return message_of<CheckpointError>([&] { static_cast<void>(read_bounded_text(path, 100)); });
}

TEST(BoundedJson, ReadsARegularFileUpToItsLimit) {
  const TemporaryDirectory directory;
  write_file(directory / "file", std::string(100, 'x'));
  EXPECT_EQ(read_bounded_text(directory / "file", 100), std::string(100, 'x'));
  write_file(directory / "file", std::string(101, 'x'));
  EXPECT_THAT(reading(directory / "file"), HasSubstr("has 101 bytes, expected at most 100"));
  EXPECT_THAT(reading(directory / "none"), HasSubstr("none is missing"));
}

TEST(BoundedJson, PipesDevicesAndDirectoriesAreRefusedWithoutWaiting) {
  const TemporaryDirectory directory;
  ASSERT_EQ(::mkfifo((directory / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(reading(directory / "pipe"), HasSubstr("pipe is not a regular file"));
  std::filesystem::create_symlink("/dev/zero", directory / "zero");
  EXPECT_THAT(reading(directory / "zero"), HasSubstr("zero is not a regular file"));
  EXPECT_THAT(reading(directory.path()), HasSubstr("not a regular file"));
}

TEST(BoundedJson, SparseFilesAreRefusedBeforeTheyAreRead) {
  const TemporaryDirectory directory;
  write_file(directory / "sparse", "");
  std::filesystem::resize_file(directory / "sparse", uintmax_t{1} << 40);
  EXPECT_THAT(reading(directory / "sparse"), HasSubstr("expected at most 100"));
}

TEST(BoundedJson, NestingIsLimited) {
  const auto parse = [](const std::string& text) {
    return message_of<CheckpointError>(
        [&] { static_cast<void>(parse_bounded_json(text, 2, "file")); });
  };
  EXPECT_EQ(parse(R"({"a": [1, 2]})"), "no error");
  EXPECT_THAT(parse(R"({"a": [[1]]})"), HasSubstr("nested more than 2 levels"));
  EXPECT_THAT(parse(std::string(40'000'000, '[')), HasSubstr("nested more than 2 levels"));
  EXPECT_THAT(parse("{\"a\": 1"), HasSubstr("not JSON at byte"));
  EXPECT_THAT(parse("1e999"), HasSubstr("not JSON"));
}

TEST(BoundedJson, WholeNumbers) {
  const json object{{"a", 5}, {"b", -3}, {"c", 2.0}, {"d", uint64_t{1} << 53}, {"e", UINT64_MAX}};
  EXPECT_EQ(whole_number(object, "a", 0, "file"), 5);
  EXPECT_EQ(whole_number(object, "b", -3, "file"), -3);
  EXPECT_EQ(whole_number(object, "d", 0, "file"), int64_t{1} << 53);
  for (const char* key : {"b", "c", "e", "missing"})
    EXPECT_THROW(static_cast<void>(whole_number(object, key, 0, "file")), CheckpointError) << key;
}

}  // namespace
}  // namespace pinnerformer
