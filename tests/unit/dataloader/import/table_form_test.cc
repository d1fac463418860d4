// The form of a file, from its name, its first bytes and what the user says.
#include "dataloader/import/table_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

class TableForms : public testing::Test {
 protected:
  FileForm form(const std::string& name, const std::string& content, const TableForm& said = {}) {
    return file_form(InputFile::plain(write_file(directory_ / name, content)), said);
  }
  TemporaryDirectory directory_;
};

TEST_F(TableForms, NamesSayTheFormat) {
  EXPECT_EQ(form("a.csv", "x").format, TableFormat::kCsv);
  EXPECT_EQ(form("a.tsv.gz", "x").format, TableFormat::kTsv);
  EXPECT_EQ(form("a.inter", "x").delimiter, "\t");
  EXPECT_EQ(form("a.jsonl.zst", "x").format, TableFormat::kJsonLines);
}

TEST_F(TableForms, ContentSaysTheCompression) {
  EXPECT_EQ(form("a.csv", "\x1f\x8bxx").compression, Compression::kGzip);
  EXPECT_EQ(form("b.csv", "\x28\xb5\x2f\xfdxx").compression, Compression::kZstd);
  EXPECT_EQ(form("c.csv", "BZh91AY&SYxx").compression, Compression::kBzip2);
  EXPECT_EQ(form("d.csv", "BZhang,1\n").compression, Compression::kNone);
  EXPECT_EQ(form("e.csv.gz", "user,item\n").compression, Compression::kNone);
  EXPECT_EQ(form("f.csv", "PAR1xxxx").format, TableFormat::kParquet);
}

TEST_F(TableForms, OtherKindsOfFilesAreNamed) {
  const auto message = [&](const std::string& content) {
    try {
      form("a.csv", content);
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message("PK\3\4xxxx"), HasSubstr("ZIP"));
  EXPECT_THAT(message("\xff\xfeu\0s\0"), HasSubstr("UTF-16"));
  EXPECT_THAT(message(std::string("u\0s\0e\0r\0", 8)), HasSubstr("UTF-16"));
  EXPECT_EQ(message("ORCID,item\n"), "");
}

TEST_F(TableForms, GuessesForMessages) {
  EXPECT_EQ(guess_format_option("{\"a\":1}\n"), "--format jsonl");
  EXPECT_EQ(guess_format_option("a;b\n1,5;2\n"), "--format csv --delimiter ';'");
  EXPECT_EQ(guess_delimiter("1::2::3"), "::");
  EXPECT_EQ(guess_delimiter("word"), "");
  EXPECT_EQ(delimiter_of("tab"), "\t");
  EXPECT_EQ(delimiter_of("::"), "::");
}

}  // namespace
}  // namespace pinnerformer
