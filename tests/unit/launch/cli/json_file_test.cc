// Results written by --json FILE: whole, readable, and never a half file.
#include "launch/cli/json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"

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
