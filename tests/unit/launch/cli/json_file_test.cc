// Results written by --json FILE: whole, readable, and never a half file.
#include "launch/cli/json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

class JsonFile : public testing::Test {
 protected:
  JsonFile() { fs::remove_all(directory_); }
  ~JsonFile() override { fs::remove_all(directory_); }
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ / name; }

  fs::path directory_ = fs::path(testing::TempDir()) / ("pf_json_" + std::to_string(getpid()));
};

nlohmann::json read(const std::string& file) {
  std::ifstream stream(file);
  return nlohmann::json::parse(stream);
}

TEST_F(JsonFile, WritesAndReplaces) {
  write_json_file(path("deep/result.json"), {{"users", 3}});
  EXPECT_EQ(read(path("deep/result.json")), nlohmann::json({{"users", 3}}));
  write_json_file(path("deep/result.json"), {{"users", 4}});
  EXPECT_EQ(read(path("deep/result.json"))["users"], 4);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_ / "deep"), {}),
            1);  // nothing left over
}

TEST_F(JsonFile, SurvivesWhatJsonCannotSay) {
  write_json_file(path("odd.json"), {{"loss", std::nan("")}, {"title", "caf\xe9"}});
  EXPECT_TRUE(read(path("odd.json"))["loss"].is_null());
  EXPECT_EQ(read(path("odd.json"))["title"], "caf\xef\xbf\xbd");
}

TEST_F(JsonFile, WithoutANameNothingHappens) { EXPECT_NO_THROW(write_json_file("", {})); }

TEST_F(JsonFile, WritesIntoDevicesInsteadOfReplacingThem) {
  EXPECT_NO_THROW(write_json_file("/dev/null", {{"a", 1}}));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(JsonFile, WritesIntoAPipe) {
  fs::create_directories(directory_);
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  std::thread writer([&] { write_json_file(path("pipe"), {{"users", 3}}); });
  EXPECT_EQ(read(path("pipe")), nlohmann::json({{"users", 3}}));
  writer.join();
  EXPECT_TRUE(fs::is_fifo(path("pipe")));
}

// As with `--json /dev/stdout > FILE`: the name of an open file is no file to replace.
TEST_F(JsonFile, WritesIntoAnOpenFileByItsDescriptor) {
  fs::create_directories(directory_);
  const File open = File::create(path("stdout"));
  const std::string text = "3 users\n", more = "done\n";
  const auto say = [&](const std::string& line) {
    ASSERT_EQ(::write(open.descriptor(), line.data(), line.size()), std::ssize(line));
  };
  say(text);
  write_json_file("/dev/fd/" + std::to_string(open.descriptor()), {{"users", 3}});
  say(more);
  EXPECT_EQ(read_whole_file(path("stdout"), 1000), text + "{\n  \"users\": 3\n}\n" + more)
      << "what was there, and what comes later, stays";
}

TEST_F(JsonFile, WritesThroughNoPlantedLink) {
  fs::create_directories(directory_);
  std::ofstream(path("secret")) << "kept";
  fs::create_symlink(path("secret"), path("result.json.partial"));
  fs::create_symlink(path("secret"), path("link.json"));
  write_json_file(path("result.json"), {{"users", 3}});
  EXPECT_EQ(read(path("result.json"))["users"], 3);
  EXPECT_THROW(write_json_file(path("link.json"), {}), IoError);
  EXPECT_EQ(fs::file_size(path("secret")), 4);
}

TEST_F(JsonFile, SaysWhyItCannotWrite) {
  fs::create_directories(directory_ / "taken");
  std::ofstream(path("file")) << "x";
  EXPECT_THROW(write_json_file(path("taken"), {}), IoError);
  try {
    write_json_file(path("file/result.json"), {});
    FAIL() << "no error";
  } catch (const IoError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("(--json)"));
    EXPECT_THAT(error.what(), testing::HasSubstr("Not a directory"));
  }
}

}  // namespace
}  // namespace pinnerformer
