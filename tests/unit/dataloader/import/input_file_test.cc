// Words of --events: what becomes a file, what is skipped, what is refused.
#include "dataloader/import/input_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

class InputFileWords : public testing::Test {
 protected:
  void add(const std::string& name) {
    const std::string path = directory_ / name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    write_file(path, "x");
  }
  std::vector<std::string> names(const std::vector<std::string>& words) {
    std::vector<std::string> found;
    for (const std::string& word : words) full_.push_back(directory_ / word);
    const InputFiles files(full_, directory_ / "scratch");
    full_.clear();
    for (const InputFile& file : files.files()) {
      found.push_back(std::filesystem::relative(file.path, directory_.path()).string());
    }
    return found;
  }

  TemporaryDirectory directory_;
  std::vector<std::string> full_;
};

TEST_F(InputFileWords, DirectoriesAreReadInOrderWithoutHiddenNames) {
  for (const char* name : {"log/b/2.csv", "log/a.csv", "log/_SUCCESS", "log/.a.csv.crc",
                           "log/_temporary/x.csv", "log/b/1.csv", "other.csv"}) {
    add(name);
  }
  EXPECT_THAT(names({"log"}), ElementsAre("log/a.csv", "log/b/1.csv", "log/b/2.csv"));
  EXPECT_THAT(names({"other.csv", "log/b"}),
              ElementsAre("other.csv", "log/b/1.csv", "log/b/2.csv"));
}

TEST_F(InputFileWords, PatternsMatchSortedAndFilesOfThatVeryNameWin) {
  for (const char* name : {"2.csv", "1.csv", "3.tsv", "a[1].csv", "_.csv"}) add(name);
  EXPECT_THAT(names({"?.csv"}), ElementsAre("1.csv", "2.csv"));
  EXPECT_THAT(names({"a[1].csv"}), ElementsAre("a[1].csv"));
  EXPECT_THAT(names({"_*"}), ElementsAre("_.csv"));
  EXPECT_THROW(names({"*.parquet"}), MissingInputError);
}

TEST_F(InputFileWords, FoldersGiveValues) {
  add("dt=2024-05-01/place=a%20b/none=__HIVE_DEFAULT_PARTITION__/1.csv");
  const InputFiles files({directory_ / "dt=2024-05-01"}, directory_ / "scratch");
  EXPECT_THAT(files.files()[0].folder_values,
              ElementsAre(Pair("dt", "2024-05-01"), Pair("place", "a b"), Pair("none", "")));
}

TEST_F(InputFileWords, OnlyRegularFilesAreOpened) {
  ASSERT_EQ(::mkfifo((directory_ / "pipe.csv").c_str(), 0600), 0);
  EXPECT_THROW(names({"pipe.csv"}), DataError);
  EXPECT_THROW(require_regular_file("/dev/null"), DataError);
  EXPECT_THROW(require_regular_file(directory_.path()), DataError);
  EXPECT_THROW(require_regular_file(directory_ / "none"), MissingInputError);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "scratch"));
}

TEST_F(InputFileWords, LinksToDirectoriesAreRefusedBelowADirectory) {
  add("log/a.csv");
  std::filesystem::create_directory_symlink(directory_ / "log", directory_ / "log/again");
  EXPECT_THROW(names({"log"}), DataError);
}

}  // namespace
}  // namespace pinnerformer
