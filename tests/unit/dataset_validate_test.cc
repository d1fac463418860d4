// `data validate` finds damage that opening a dataset cannot see; `data inspect` counts right.
#include "dataloader/dataset_validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "dataloader/dataset_format.h"
#include "dataloader/dataset_summary.h"
#include "dataloader/dataset_writer.h"
#include "dataloader/errors.h"
#include "dataloader/file_io.h"
#include "dataloader/h5_file.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::string write_ten_users(const std::string& directory) {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 10; ++user) {
    for (int64_t event = 0; event <= user; ++event) {
      rows.push_back({user, event, event % 2 ? "save" : "view", "home", 100 * user + event});
    }
  }
  FixtureItems items;
  items.vectors = torch::ones({12, 4});
  items.vectors[3].zero_();
  return write_dataset(directory, rows, items);
}

// Adds 1 to one byte of the n-th element of a dataset of a file.
void damage(const std::string& path, const std::string& dataset, int64_t element) {
  const H5File file = H5File::open(path);
  const ArrayLayout found = file.describe(dataset);
  const ArrayLayout layout = file.layout(dataset, {found.type}, found.shape.size());
  File raw = File::open_for_update(path);
  unsigned char byte = 0;
  const int64_t at = layout.offset + element * size_of(layout.type);
  raw.read_at(at, &byte, 1);
  ++byte;
  raw.write_at(at, &byte, 1);
}

std::string fault(const std::string& directory) {
  try {
    validate_dataset(directory);
  } catch (const DataError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(DatasetValidate, WholeDatasetIsValid) {
  const TemporaryDirectory directory;
  const ValidatedDataset result = validate_dataset(write_ten_users(directory.path()));
  EXPECT_EQ(result.users, 10);
  EXPECT_EQ(result.events, 55);
  EXPECT_EQ(result.items, 12);
  EXPECT_EQ(result.bytes, 12 * 8 + 12 * 4 * 2 + 11 * 8 + 10 * 8 + 55 * (4 + 2 + 2 + 8 + 4));
}

TEST(DatasetValidate, OneFlippedByteIsFoundInEveryColumn) {
  for (const char* dataset : {"/user/id", "/event/item", "/event/action", "/event/surface",
                              "/event/time", "/event/duration"}) {
    const TemporaryDirectory directory;
    const std::string path = write_ten_users(directory.path());
    damage(path + "/" + part_file_name(0, 1), dataset, 7);
    EXPECT_THAT(fault(path), AllOf(HasSubstr(dataset), HasSubstr("do not match their checksum"),
                                   HasSubstr("users-00000-of-00001.h5")));
  }
  const TemporaryDirectory directory;
  const std::string path = write_ten_users(directory.path());
  damage(path + "/items.h5", "/item/vector", 47);
  EXPECT_THAT(fault(path), AllOf(HasSubstr("items.h5"), HasSubstr("/item/vector")));
}

TEST(DatasetValidate, ColumnsOfSeveralBlocksAreWholeAndCheckedToTheEnd) {
  const TemporaryDirectory directory;
  constexpr size_t kEvents = 600000;  // 4.8 MB of times: more than one block and one spool buffer
  ItemTable items;
  items.ids.push_back(int64_t{5});
  const std::string path = directory / "d";
  DatasetWriter writer({.directory = path, .actions = {"a"}, .surfaces = {"s"}}, items);
  Timeline events;
  events.item.assign(kEvents, 0);
  events.action.assign(kEvents, 0);
  events.surface.assign(kEvents, 0);
  events.duration.assign(kEvents, 2.0f);
  for (size_t i = 0; i < kEvents; ++i) events.time.push_back(static_cast<int64_t>(i));
  writer.add_user(int64_t{1}, events);
  writer.finish();
  EXPECT_EQ(validate_dataset(path).events, 600000);
  EXPECT_EQ(Dataset::open(path).timeline(0).time, events.time);
  damage(path + "/" + part_file_name(0, 1), "/event/time", kEvents - 1);
  EXPECT_THAT(fault(path), HasSubstr("/event/time: bytes 4194304 to 4800000 do not match"));
}

TEST(DatasetValidate, SummaryCountsUsersEventsAndVectors) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_ten_users(directory.path()));
  PositiveOptions saves;
  saves.actions = {"save"};
  const DatasetSummary summary = summarize_dataset(dataset, PositiveRule(saves, dataset));
  EXPECT_EQ(summary.users, 10);
  EXPECT_EQ(summary.items_with_vector, 11);
  EXPECT_EQ(summary.vector_type, "float16");
  EXPECT_THAT(summary.actions, ElementsAre(Pair("save", 25), Pair("view", 30)));
  EXPECT_THAT(summary.length_percentiles, ElementsAre(Pair(0, 1), Pair(10, 1), Pair(50, 5),
                                                      Pair(90, 9), Pair(99, 10), Pair(100, 10)));
  EXPECT_DOUBLE_EQ(summary.mean_length, 5.5);
  EXPECT_EQ(summary.positives, 25);
  EXPECT_THAT(summary.positive_percentiles, ElementsAre(Pair(0, 0), Pair(10, 0), Pair(50, 2),
                                                        Pair(90, 4), Pair(99, 5), Pair(100, 5)));
  std::vector<int64_t> users, items;  // by number: 0, 1, 2-3, 4-7, 8-15
  for (const auto& row : summary.events_per_user.rows()) users.push_back(row.count);
  for (const auto& row : summary.events_per_item.rows()) items.push_back(row.count);
  EXPECT_THAT(users, ElementsAre(0, 1, 2, 4, 3));
  EXPECT_THAT(items, ElementsAre(2, 1, 2, 4, 3)) << "two of the twelve items are in no event";
  EXPECT_EQ(summary.events_per_user.rows()[3].least, 4);
  EXPECT_EQ(summary.events_per_user.rows()[3].most, 7);
  EXPECT_THAT(dataset_summary_text(summary),
              AllOf(HasSubstr("1970-01-01T00:00:00Z to 1970-01-01T00:15:09Z"),
                    HasSubstr("11 items (91.7 %)")));
  EXPECT_THAT(dataset_summary_json(summary), HasSubstr("\"p50\": 5"));
}

}  // namespace
}  // namespace pinnerformer
