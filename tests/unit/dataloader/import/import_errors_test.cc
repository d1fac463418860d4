// Bad input: each mistake is found, is an error of the right kind, and is named where it lies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "dataloader/base/errors.h"
#include "dataloader/import/import.h"
#include "tests/support/import_fixture.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ImportErrors : public testing::Test {
 protected:
  static constexpr const char* kHeader = "user\titem\taction\tsurface\tts\tlong\n";

  ImportOptions events(const std::string& lines, const std::string& name = "events.tsv") {
    return import_options(directory_, kHeader + lines, name);
  }

  template <typename Error>
  std::string message(const ImportOptions& options) {
    try {
      import_dataset(options, {});
    } catch (const Error& error) {
      EXPECT_FALSE(std::filesystem::exists(options.out));
      return error.what();
    }
    return "nothing was thrown";
  }

  TemporaryDirectory directory_;
};

TEST_F(ImportErrors, MissingFileIsAMissingInput) {
  ImportOptions options = events("");
  options.events = {directory_ / "none.tsv"};
  EXPECT_THAT(message<MissingInputError>(options), HasSubstr("none.tsv: No such file"));
  options = events("1\t1\ta\ts\t1\t1\n");
  options.vectors = directory_ / "none.h5";
  EXPECT_THAT(message<MissingInputError>(options), HasSubstr("none.h5"));
}

TEST_F(ImportErrors, EmptyFileAndFileWithOnlyAHeader) {
  EXPECT_THAT(message<DataError>(import_options(directory_, "", "e.tsv")),
              HasSubstr("e.tsv is empty"));
  EXPECT_THAT(message<DataError>(events("")), HasSubstr("no events, only a header"));
}

TEST_F(ImportErrors, UnknownColumnListsTheColumnsAndTheNearest) {
  ImportOptions options = events("1\t1\ta\ts\t1\t1\n");
  options.surface.name = "surfaces";
  EXPECT_THAT(message<DataError>(options),
              AllOf(HasSubstr("there is no column 'surfaces'"),
                    HasSubstr("found: user, item, action, surface, ts, long"),
                    HasSubstr("did you mean 'surface'?")));
}

TEST_F(ImportErrors, TextWhereANumberBelongsNamesFileRowColumnAndValue) {
  EXPECT_THAT(message<DataError>(events("1\t1\ta\ts\t5\t1\n1\t1\ta\ts\tsoon\t1\n")),
              AllOf(HasSubstr("events.tsv, row 2"), HasSubstr("column 'ts'"),
                    HasSubstr("expected a number, found 'soon'")));
  EXPECT_THAT(message<DataError>(events("1\t1\ta\ts\t2024-05-31 10:00\t1\n")),
              HasSubstr("time=ts:iso reads it"));
  EXPECT_THAT(message<DataError>(events("1\t1\ta\ts\t5\tlong\n")),
              AllOf(HasSubstr("row 1"), HasSubstr("column 'long'"), HasSubstr("found 'long'")));
}

TEST_F(ImportErrors, RowNumbersCountOverBlocks) {
  std::string lines;
  for (int i = 0; i < 400000; ++i) lines += "1\t1\taction\tsurface\t5000\t1\n";
  EXPECT_THAT(message<DataError>(events(lines + "1\t1\ta\ts\tx\t1\n")), HasSubstr("row 400001 "));
}

TEST_F(ImportErrors, TimesBefore1970AndAfter2100) {
  EXPECT_THAT(message<DataError>(events("1\t1\ta\ts\t-5\t1\n")),
              HasSubstr("expected a time since 1970, found '-5'"));
  ImportOptions options = events("1\t1\ta\ts\t1650882384975\t1\n");
  options.time.unit = TimeUnit::kSeconds;
  EXPECT_THAT(message<DataError>(options),
              AllOf(HasSubstr("expected a time before 2100, found '1650882384975'"),
                    HasSubstr("time=ts:ms says milliseconds")));
}

TEST_F(ImportErrors, TimesThatMayMeanSeveralInstants) {
  for (const char* time : {"2024-05-31 23:59:59 CEST", "31/05/2024 23:59", "2024-05-31 11:59 PM"}) {
    ImportOptions options = events(std::string("1\t1\ta\ts\t") + time + "\t1\n");
    options.time.unit = TimeUnit::kIso;
    EXPECT_THAT(
        message<DataError>(options),
        AllOf(HasSubstr("expected a time such as 2024-05-31 23:59:59 (UTC)"), HasSubstr(time)));
  }
}

TEST_F(ImportErrors, SecondsTakenForMilliseconds) {
  EXPECT_THAT(
      message<DataError>(events("1\t1\ta\ts\t1650882384\t1\n")),
      AllOf(HasSubstr("lie in January and February 1970"), HasSubstr("time=ts:s says seconds")));
}

TEST_F(ImportErrors, EmptyCellsAndNegativeDurationsSayHowToAcceptThem) {
  EXPECT_THAT(message<DataError>(events("\t1\ta\ts\t5\t1\n")),
              AllOf(HasSubstr("column 'user'"), HasSubstr("--missing user= drops such rows")));
  EXPECT_THAT(message<DataError>(events("1\t1\ta\ts\t5\t-2\n")),
              HasSubstr("--missing duration=-2 says"));
}

TEST_F(ImportErrors, ADateAmongDurationsIsNoTime) {
  const std::string found = message<DataError>(events("1\t1\ta\ts\t5\t2024-05-31\n"));
  EXPECT_THAT(found, AllOf(HasSubstr("column 'long'"), HasSubstr("it looks like a date"),
                           HasSubstr("a duration is a number of seconds")));
  EXPECT_THAT(found, Not(HasSubstr("time=")));
}

TEST_F(ImportErrors, RowsOfAnotherWidthAreNamed) {
  EXPECT_THAT(message<DataError>(events("1\t1\ta\ts\t5\t1\n1\t1\ta\n")),
              AllOf(HasSubstr("events.tsv"), HasSubstr("Row #3"), HasSubstr("Expected 6")));
}

TEST_F(ImportErrors, FormatThatTheNameDoesNotSay) {
  EXPECT_THAT(message<DataError>(import_options(directory_, "a\n", "events.data")),
              HasSubstr("Name the format with --format"));
  EXPECT_THAT(message<DataError>(import_options(directory_, "PAR", "events.parquet")),
              HasSubstr("expected a Parquet file"));
}

TEST_F(ImportErrors, VectorThatIsNotFiniteNamesTheItem) {
  ImportOptions options = events("1\t7\ta\ts\t40000000000\t1\n");
  add_npy_vectors(directory_, options, {"7", "8"}, {{1, 2}, {3, NAN}});
  EXPECT_THAT(message<DataError>(options), HasSubstr("vector of item 8, element 1"));
  add_npy_vectors(directory_, options, {"7", "8"}, {{1, INFINITY}, {3, 1}});
  EXPECT_THAT(message<DataError>(options), HasSubstr("vector of item 7, element 1"));
  add_npy_vectors(directory_, options, {"7", "8"}, {{1, 70000}, {3, 1}});
  EXPECT_THAT(message<DataError>(options), HasSubstr("fits float16"));
}

TEST_F(ImportErrors, VectorsWithoutIdsOrWithTwoOfOne) {
  ImportOptions options = events("1\t7\ta\ts\t40000000000\t1\n");
  add_npy_vectors(directory_, options, {"7"}, {{1, 2}, {3, 4}});
  EXPECT_THAT(message<DataError>(options), HasSubstr("2 vectors, found 1 ids"));
  add_npy_vectors(directory_, options, {"7", "7"}, {{1, 2}, {3, 4}});
  EXPECT_THAT(message<DataError>(options), HasSubstr("item 7 has two vectors"));
  options.vector_ids = "";
  EXPECT_THAT(message<DataError>(options), HasSubstr("--vector-ids names"));
}

TEST_F(ImportErrors, ItemsWithoutVectorCanBeAnError) {
  ImportOptions options = events("1\t7\ta\ts\t40000000000\t1\n");
  add_npy_vectors(directory_, options, {"8"}, {{1, 2}});
  options.without_vector = ItemsWithoutVector::kError;
  EXPECT_THAT(message<DataError>(options), HasSubstr("1 items have no vector, for example 7"));
}

TEST_F(ImportErrors, AttributesWithOneItemTwice) {
  ImportOptions options = events("1\t7\ta\ts\t40000000000\t1\n");
  options.items = write_file(directory_ / "items.csv", "id,t\n1,a\n2,b\n1,c\n");
  options.item_title_column = "t";
  EXPECT_THAT(message<DataError>(options), AllOf(HasSubstr("items.csv, row 3"), HasSubstr("'1'")));
}

TEST_F(ImportErrors, ForeignDirectoryIsNeverReplaced) {
  ImportOptions options = events("1\t7\ta\ts\t40000000000\t1\n");
  options.overwrite = true;
  std::filesystem::create_directory(options.out);
  write_file(options.out + "/thesis.txt", "precious");
  EXPECT_THROW(import_dataset(options, {}), DataError);
  EXPECT_TRUE(std::filesystem::exists(options.out + "/thesis.txt"));
}

TEST_F(ImportErrors, ExistingDatasetNeedsOverwrite) {
  ImportOptions options = events("1\t7\ta\ts\t40000000000\t1\n");
  import_dataset(options, {});
  EXPECT_THROW(import_dataset(options, {}), DataError);
}

TEST_F(ImportErrors, ColumnAssignmentsAreChecked) {
  ImportOptions options;
  const auto message_of = [&](const std::vector<std::string>& words) -> std::string {
    try {
      set_event_columns(options, words);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message_of({"time=ts:minutes"}), HasSubstr("unknown unit 'minutes'"));
  EXPECT_THAT(message_of({"duration=d:iso"}), HasSubstr("unknown unit 'iso'"));
  EXPECT_THAT(message_of({"usr=x"}), HasSubstr("unknown event column 'usr'"));
  EXPECT_THAT(message_of({"user"}), HasSubstr("expected role=column"));
  EXPECT_THROW(set_item_columns(options, {"color=c"}), std::invalid_argument);
  EXPECT_THROW(set_vector_columns(options, {"color=c"}), std::invalid_argument);
}

}  // namespace
}  // namespace pinnerformer
