// Import: what comes in as tables comes out as a dataset, in one order, whatever the order of rows.
#include "dataloader/import/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "dataloader/base/errors.h"
#include "dataloader/base/temporary.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/inspect/dataset_validate.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/import_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

class Import : public testing::Test {
 protected:
  // The usual columns, from a TSV with these lines behind its header.
  ImportOptions events(const std::string& lines, const std::string& name = "events.tsv") {
    return import_options(directory_, "user\titem\taction\tsurface\tts\tlong\n" + lines, name);
  }
  ImportReport run(const ImportOptions& options) { return import_dataset(options, {}); }
  [[nodiscard]] Dataset open() const { return Dataset::open(directory_ / "out"); }
  [[nodiscard]] Timeline timeline_of(const std::string& user) const {
    const Dataset dataset = open();
    return dataset.timeline(dataset.find_user(user).value());
  }

  TemporaryDirectory directory_;
};

TEST_F(Import, TimelinesAreSortedAndNumbered) {
  const ImportReport report =
      run(events("5\t30\tsave\thome\t2000\t1500\n"
                 "5\t10\tview\tsearch\t1000\t-1\n"
                 "6\t20\tview\t-\t3000\t250\n"));
  EXPECT_EQ(report.users, 2);
  EXPECT_EQ(report.items, 3);
  EXPECT_EQ(report.events, 3);
  EXPECT_EQ(report.unsorted_users, 1);
  EXPECT_EQ(report.first_time, 1);
  EXPECT_EQ(report.last_time, 3);
  EXPECT_THAT(report.actions, ElementsAre(Pair("save", 1), Pair("view", 2)));
  EXPECT_THAT(report.surfaces, ElementsAre(Pair("home", 1), Pair("search", 1), Pair("unknown", 1)));
  const Dataset dataset = open();
  EXPECT_EQ(dataset.item_id(0), "10");
  const Timeline five = timeline_of("5");
  EXPECT_THAT(five.item, ElementsAre(0, 2));
  EXPECT_THAT(five.action, ElementsAre(1, 0));
  EXPECT_THAT(five.surface, ElementsAre(1, 0));
  EXPECT_THAT(five.time, ElementsAre(1, 2));
  EXPECT_TRUE(std::isnan(five.duration[0]));
  EXPECT_EQ(five.duration[1], 1.5f);
  EXPECT_EQ(validate_dataset(dataset.directory()).events, 3);
}

TEST_F(Import, MillisecondsDecideTheOrderWithinASecond) {
  run(events("1\t10\ta\ts\t1900\t1\n1\t20\ta\ts\t1100\t1\n1\t30\ta\ts\t1900\t1\n"));
  const Timeline timeline = timeline_of("1");
  EXPECT_THAT(timeline.item, ElementsAre(1, 0, 2));  // equal times keep the order of the input
  EXPECT_THAT(timeline.time, ElementsAre(1, 1, 1));
}

TEST_F(Import, WithoutTimesTheOrderOfTheRowsStandsForThem) {
  ImportOptions options = events("1\t10\ta\ts\t\t1\n2\t30\ta\ts\t\t1\n");
  options.events.push_back(events("1\t20\ta\ts\t\t1\n1\t10\ta\ts\t\t1\n", "more.tsv").events[0]);
  options.untimed = true;
  const ImportReport report = run(options);
  EXPECT_EQ(report.events, 4);
  EXPECT_EQ(report.duplicates, 0);
  EXPECT_THAT(timeline_of("1").item, ElementsAre(0, 1, 0));
  EXPECT_THAT(timeline_of("1").time, ElementsAre(0, 2, 3));
  EXPECT_EQ(report.first_time, 0);
  EXPECT_EQ(report.last_time, 3);
  validate_dataset(options.out);
}

TEST_F(Import, ExactDuplicatesAreWrittenOnceUnlessKept) {
  ImportOptions options = events(
      "1\t10\ta\ts\t1000\t-1\n1\t20\ta\ts\t1000\t5\n1\t10\ta\ts\t1000\t-1\n"
      "1\t10\ta\ts\t1001\t-1\n1\t10\tb\ts\t1000\t-1\n");
  const ImportReport report = run(options);
  EXPECT_EQ(report.duplicates, 1);
  EXPECT_EQ(report.events, 4);
  options.overwrite = true;
  options.keep_duplicates = true;
  const ImportReport kept = run(options);
  EXPECT_EQ(kept.duplicates, 1);
  EXPECT_EQ(kept.events, 5);
}

std::string many_rows() {
  std::string lines;
  for (int64_t i = 0; i < 5000; ++i) {
    lines += std::to_string(i * 7919 % 311) + "\t" + std::to_string(i * 31 % 97) + "\ta" +
             std::to_string(i % 3) + "\ts" + std::to_string(i % 5) + "\t" +
             std::to_string(1000 * (i * 104729 % 100000)) + "\t" + std::to_string(i % 50) + "\n";
  }
  return lines;
}

TEST_F(Import, PartitionsChangeNoByte) {
  ImportOptions options = events(many_rows());
  options.part_events = 2000;
  ImportReport one = run(options);  // one partition
  options.out = directory_ / "other";
  options.memory_mib = kImportProcessMib + 1;  // several
  ImportReport many = run(options);
  EXPECT_EQ(many.events, 5000);
  EXPECT_EQ(many.longest_user, 17) << "of 311 users, 24 have one more than the others";
  one.seconds = many.seconds = 0;
  EXPECT_EQ(import_report_json(one), import_report_json(many));
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / "out")) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(content_of(directory_ / ("out/" + name)) ==
                content_of(directory_ / ("other/" + name)))
        << name;
  }
  EXPECT_TRUE(std::filesystem::exists(directory_ / ("other/" + part_file_name(2, 3))));
  EXPECT_EQ(validate_dataset(options.out).users, 311);
}

TEST_F(Import, PartitionsThatSpillManyTimesLoseNothing) {
  std::string lines;  // far more than a partition's buffer holds
  for (int64_t i = 0; i < 60000; ++i) {
    lines += std::to_string(i % 7) + "\t1\ta\ts\t" + std::to_string(1000 * i) + "\t1\n";
  }
  EXPECT_EQ(run(events(lines)).events, 60000);
  const Timeline timeline = timeline_of("3");
  ASSERT_EQ(timeline.size(), 8571);
  for (int64_t i = 0; i < timeline.size(); ++i) {
    ASSERT_EQ(timeline.time[static_cast<size_t>(i)], 7 * i + 3);
  }
}

TEST_F(Import, PartitionsLargerThanTheMemoryAreSplitAndChangeNoByte) {
  std::string lines = many_rows();
  for (int64_t i = 0; i < 30000; ++i)  // one user with more events than a partition may have
    lines += "77\t" + std::to_string(i % 13) + "\ta\ts\t" + std::to_string(1000 * i) + "\t1\n";
  ImportOptions options = events(lines);
  run(options);
  options.out = directory_ / "other";
  options.memory_mib = kImportProcessMib + 1;  // 13,107 events
  EXPECT_EQ(run(options).events, 35000);
  for (const char* name : {"items.h5", "users-00000-of-00001.h5"})
    EXPECT_TRUE(content_of(directory_ / "out/" + name) == content_of(directory_ / "other/" + name));
  options.memory_mib = kImportProcessMib;
  EXPECT_THROW(run(options), DataError);
}

TEST_F(Import, UsersWithOneEventAndWithAMillion) {
  std::string lines = "8\t5\ta\ts\t7000\t1\n";
  for (int64_t i = 0; i < 1000000; ++i)
    lines += "9\t" + std::to_string(i % 1000) + "\ta\ts\t" + std::to_string(1000 * i) + "\t1\n";
  const ImportReport report = run(events(lines));
  EXPECT_EQ(report.users, 2);
  EXPECT_EQ(report.events, 1000001);
  EXPECT_EQ(report.unsorted_users, 0);
  EXPECT_EQ(timeline_of("8").size(), 1);
  const Timeline long_one = timeline_of("9");
  ASSERT_EQ(long_one.size(), 1000000);
  EXPECT_EQ(long_one.time.back(), 999999);
}

// What a killed import left is removed by the next one; what another is still writing is not.
TEST_F(Import, RemovesWhatAKilledImportLeft) {
  namespace fs = std::filesystem;
  for (const char* name : {"out.tmp-1-2", "out.tmp-1-2.old", "out.tmp-events-3", "out.tmp-4-5",
                           "out.tmp-backup", "out.tmp-events", "output.tmp-6-7"}) {
    fs::create_directories(directory_ / name);
    write_file(directory_ / name + "/part", "half");
  }
  const DirectoryClaim at_work(directory_ / "out.tmp-4-5");
  run(events("5\t30\tsave\thome\t2000\t1500\n"));
  EXPECT_FALSE(fs::exists(directory_ / "out.tmp-1-2"));
  EXPECT_FALSE(fs::exists(directory_ / "out.tmp-1-2.old"));
  EXPECT_FALSE(fs::exists(directory_ / "out.tmp-events-3"));
  for (const char* name : {"out.tmp-backup", "out.tmp-events"})
    EXPECT_TRUE(fs::exists(directory_ / name)) << "a name that an import does not give";
  EXPECT_TRUE(fs::exists(directory_ / "out.tmp-4-5"));
  EXPECT_TRUE(fs::exists(directory_ / "output.tmp-6-7")) << "of another target";
  EXPECT_EQ(open().events(), 1);
}

TEST_F(Import, SeveralFilesGiveTheSameAsOne) {
  const std::string lines = many_rows();
  const size_t middle = lines.find('\n', lines.size() / 2) + 1;
  run(events(lines));
  const std::string whole = open().fingerprint();
  ImportOptions first = events(lines.substr(0, middle), "a.tsv");
  const ImportOptions second = events(lines.substr(middle), "b.tsv");
  first.events.push_back(second.events[0]);
  first.overwrite = true;
  run(first);
  EXPECT_EQ(open().fingerprint(), whole);
}

TEST_F(Import, ColumnsMayBeLeftOut) {
  ImportOptions options = import_options(directory_, "u,i,t\n1,2,3\n", "e.csv");
  options.user.name = "u";
  options.item.name = "i";
  options.time = {"t", {}, TimeUnit::kSeconds};
  options.action = options.surface = options.duration = {};
  run(options);
  const Dataset dataset = open();
  EXPECT_THAT(dataset.actions(), ElementsAre(kUnknownName));
  EXPECT_THAT(dataset.surfaces(), ElementsAre(kUnknownName));
  EXPECT_TRUE(std::isnan(dataset.timeline(0).duration[0]));
}

// Of JSON lines one file may lack an optional key that another has; a key that no file has is a
// mistake, as is a user, item or time that one lacks.
TEST_F(Import, AnAbsentKeyOfOneFileIsUnknownThere) {
  const std::string without = R"({"user":1,"item":2,"ts":1000,"action":"save"})"
                              "\n";
  const std::string with =
      R"({"user":1,"item":3,"ts":2000,"action":"save","surface":"home","long":500,"more":4})"
      "\n";
  ImportOptions options = import_options(directory_, without, "a.jsonl");
  options.events.push_back(import_options(directory_, with, "b.jsonl").events[0]);
  options.overwrite = true;
  const ImportReport report = run(options);
  EXPECT_THAT(report.surfaces, ElementsAre(Pair("home", 1), Pair("unknown", 1)));
  EXPECT_EQ(report.unknown_durations, 1);
  EXPECT_THAT(report.warnings,
              Contains(AllOf(HasSubstr("1 file has no key 'long', which other files have"),
                             HasSubstr("a.jsonl): its value is unknown there; 1 file"),
                             HasSubstr("'surface'"))));
  options.item.name = "more";
  EXPECT_THAT(message_of<DataError>([&] { run(options); }),
              HasSubstr("a.jsonl: there is no column 'more'"));
  options.item.name = "item";
  options.surface.name = "page";
  EXPECT_THAT(message_of<DataError>([&] { run(options); }),
              HasSubstr("a.jsonl: there is no column 'page'"));
}

TEST_F(Import, CsvKeepsQuotedCommasAndLineBreaks) {
  run(import_options(directory_,
                     "user,item,action,surface,ts,long\n"
                     "\"Doe, Jane\",\"x\ny\",\"say \"\"hi\"\"\",home,1000,1\n",
                     "events.csv"));
  const Dataset dataset = open();
  EXPECT_EQ(dataset.user_id(0), "Doe, Jane");
  EXPECT_EQ(dataset.item_id(0), "x\ny");
  EXPECT_THAT(dataset.actions(), ElementsAre("say \"hi\""));
}

TEST_F(Import, OneTextIdMakesAllIdsText) {
  std::string lines;
  for (int64_t i = 1; i <= 300; ++i)
    lines += std::to_string(i) + "\t" + std::to_string(i) + "\ta\ts\t1000\t1\n";
  run(events(lines + "anna\tB7\ta\ts\t1000\t1\n"));
  const Dataset dataset = open();
  EXPECT_FALSE(dataset.user_ids_are_integers());
  EXPECT_FALSE(dataset.item_ids_are_integers());
  EXPECT_EQ(dataset.users(), 301);
  EXPECT_EQ(dataset.events(), 301);
  EXPECT_TRUE(dataset.find_user("anna") && dataset.find_user("300"));
  EXPECT_EQ(dataset.item_id(1), "10");  // by bytes: 1, 10, 100
  EXPECT_EQ(dataset.item_id(300), "B7");
  EXPECT_EQ(validate_dataset(dataset.directory()).users, 301);
}

TEST_F(Import, LeadingZerosAreKept) {
  run(events("007\t1\ta\ts\t1000\t1\n7\t1\ta\ts\t1000\t1\n"));
  const Dataset dataset = open();
  EXPECT_EQ(dataset.users(), 2);
  EXPECT_TRUE(dataset.find_user("007"));
  EXPECT_TRUE(dataset.item_ids_are_integers());
}

TEST_F(Import, RowsMarkedAsMissingAreDroppedAndCounted) {
  ImportOptions options = events("NA\t1\ta\ts\t1000\t1\n2\t\ta\ts\t1000\t1\n3\t1\ta\ts\t1000\t1\n");
  options.user.missing = {"NA"};
  options.item.missing = {""};
  const ImportReport report = run(options);
  EXPECT_EQ(report.rows_read, 3);
  EXPECT_EQ(report.dropped_missing, 2);
  EXPECT_EQ(report.users, 1);
}

TEST_F(Import, TimesInEveryUnit) {
  for (const auto& [text, unit] :
       std::vector<std::pair<std::string, TimeUnit>>{{"1700000000", TimeUnit::kSeconds},
                                                     {"1700000000.75", TimeUnit::kSeconds},
                                                     {"1700000000999", TimeUnit::kMilliseconds},
                                                     {"1700000000999999", TimeUnit::kMicroseconds},
                                                     {"2023-11-14T22:13:20Z", TimeUnit::kIso},
                                                     {"2023-11-15T00:13:20+02:00", TimeUnit::kIso},
                                                     {"2023-11-14 14:43:20 -0730", TimeUnit::kIso},
                                                     {"2023/11/14 22:13:20", TimeUnit::kIso},
                                                     {"20231114T221320", TimeUnit::kIso},
                                                     {"2023-11-14 22:13:20", TimeUnit::kIso}}) {
    ImportOptions options = events("1\t1\ta\ts\t" + text + "\t1\n");
    options.time.unit = unit;
    options.overwrite = true;
    EXPECT_EQ(run(options).first_time, 1700000000) << text;
  }
}

// "9999-12-31" often stands for "never".
TEST_F(Import, DatesBeyondNanosecondsAreTimesOutOfRange) {
  ImportOptions options =
      events("1\t1\ta\ts\t2023-11-14\t1\n1\t1\ta\ts\t9999-12-31T01:02:03.5\t1\n");
  options.time.unit = TimeUnit::kIso;
  EXPECT_THAT(message_of<DataError>([&] { run(options); }), HasSubstr("a time before 2100"));
  options.bad_times = BadTimes::kDrop;
  const ImportReport report = run(options);
  EXPECT_EQ(report.events, 1);
  EXPECT_EQ(report.dropped_times, 1);
}

TEST_F(Import, AttributesBecomeTitlesAndTopics) {
  ImportOptions options = events("1\t10\ta\ts\t1000\t1\n1\t30\ta\ts\t1000\t1\n");
  options.items = write_file(directory_ / "items.tsv",
                             "id\tname\ttag\n10\tten \"quoted\"\tblue\n20\ttwenty\t\n40\t\tair\n");
  set_item_columns(options, {"id=id", "title=name", "topic=tag"});
  EXPECT_EQ(run(options).items, 4);  // items of the attribute table are kept
  const Dataset dataset = open();
  EXPECT_EQ(dataset.item_title(0), "ten \"quoted\"");
  EXPECT_EQ(dataset.item_title(2), "");
  EXPECT_THAT(dataset.topic_names(), ElementsAre("air", "blue"));
  EXPECT_THAT(dataset.item_topics(), ElementsAre(1, -1, -1, 0));
}

TEST_F(Import, VectorsFindTheirItems) {
  ImportOptions options = events("1\t10\ta\ts\t1000\t1\n1\t30\ta\ts\t2000\t1\n");
  add_npy_vectors(directory_, options, {"50", "10"}, {{1.0f, 2.0f}, {3.0f, -0.5f}});
  const ImportReport report = run(options);
  EXPECT_EQ(report.items, 3);
  EXPECT_EQ(report.items_without_vector, 1);
  EXPECT_EQ(report.items_only_in_vectors, 1);
  EXPECT_EQ(report.vector_width, 2);
  const auto expected = torch::tensor({{3.0f, -0.5f}, {0.0f, 0.0f}, {1.0f, 2.0f}});
  EXPECT_TRUE(torch::equal(open().item_vectors().to(torch::kFloat32), expected));
}

TEST_F(Import, ItemsWithoutVectorCanBeDropped) {
  ImportOptions options =
      events("1\t10\ta\ts\t1000\t1\n1\t30\ta\ts\t2000\t1\n2\t30\ta\ts\t3000\t1\n");
  add_npy_vectors(directory_, options, {"50", "10"}, {{1.0f}, {3.0f}});
  options.without_vector = ItemsWithoutVector::kDrop;
  const ImportReport report = run(options);
  EXPECT_EQ(report.dropped_without_vector, 2);
  EXPECT_EQ(report.users, 1);  // user 2 has nothing left
  EXPECT_EQ(report.events, 1);
  EXPECT_EQ(report.items, 2);
  EXPECT_EQ(report.last_time, 1);
}

TEST_F(Import, NothingIsLeftBehind) {
  run(events("1\t10\ta\ts\t1000\t1\n"));
  ImportOptions bad = events("1\tten\ta\ts\tlater\t1\n", "bad.tsv");
  bad.overwrite = true;
  EXPECT_THROW(run(bad), DataError);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, ElementsAre("bad.tsv", "events.tsv", "out"));
  EXPECT_EQ(open().item_id(0), "10");  // the old dataset is still there
}

TEST_F(Import, OverwriteReplacesTheWholeDataset) {
  ImportOptions options = events(many_rows());
  options.part_events = 500;
  run(options);
  options = events("1\t10\ta\ts\t1000\t1\n");
  options.overwrite = true;
  run(options);
  EXPECT_EQ(open().users(), 1);
  int64_t files = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(directory_ / "out")) {
    ++files;
  }
  EXPECT_EQ(files, 2);
}

TEST_F(Import, ReportAsJsonHasEveryCount) {
  const std::string json = import_report_json(run(events("1\t10\ta\ts\t1000\t1\n")));
  for (const char* key :
       {"\"users\": 1", "\"users_with_one_event\": 1", "\"longest_user\": 1", "\"items\": 1",
        "\"events\": 1", "\"unknown_durations\": 0", "\"files\": 1", "\"rows_read\": 1",
        "dropped_missing", "dropped_without_vector", "duplicates", "unsorted_users",
        "items_without_vector", "items_only_in_vectors", "\"first_time\": 1", "\"last_time\": 1",
        "\"a\": 1", "\"s\": 1", "seconds"}) {
    EXPECT_THAT(json, HasSubstr(key));
  }
}

TEST_F(Import, ReportCountsWhatWasWritten) {
  ImportOptions options = events(
      "1\t10\ta\ts\t1000\t-1\n1\t20\ta\ts\t2000\t-1\n2\t10\ta\ts\t1000\t5\n"
      "3\t10\ta\ts\t1000\t-1\n3\t10\ta\ts\t1000\t-1\n");
  options.events.push_back(events("1\t30\ta\ts\t3000\t0\n", "more.tsv").events[0]);
  const ImportReport report = run(options);
  EXPECT_EQ(report.files, 2);
  EXPECT_EQ(report.users, 3);
  EXPECT_EQ(report.users_with_one_event, 2) << "one of them after its duplicate is gone";
  EXPECT_EQ(report.longest_user, 3);
  EXPECT_EQ(report.events, 5);
  EXPECT_EQ(report.unknown_durations, 3);
  const std::string text = import_report_text(report);
  for (const char* line : {"event files             2\n", "users with one event    2\n",
                           "events of longest user  3\n", "unknown durations       3\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

}  // namespace
}  // namespace pinnerformer
