// `data validate` finds damage that opening a dataset cannot see; `data inspect` counts right.
#include "dataloader/inspect/dataset_validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>
#include <utility>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/dataset_writer.h"
#include "dataloader/dataset/items_writer.h"
#include "dataloader/dataset/users_writer.h"
#include "dataloader/hdf5/h5_file.h"
#include "dataloader/inspect/dataset_summary.h"
#include "tests/support/damage.h"
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
  EXPECT_THAT(fault(path), HasSubstr("items.h5: dataset /item/vector, rows 0 to 12: do not match"));
}

TEST(DatasetValidate, ColumnsOfSeveralBlocksAreWholeAndCheckedToTheEnd) {
  const TemporaryDirectory directory;
  constexpr size_t kEvents = 600000;  // 4.8 MB of times: more than one block and one spool buffer
  ItemColumns items;
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
  EXPECT_THAT(fault(path), HasSubstr("/event/time, rows 524288 to 600000: do not match"));
}

using ItemsChange = std::function<void(const std::string& path)>;

// Past the checks of DatasetWriter: the users of each file as given, with one event each at second
// 10. `change` damages items.h5 before its checksums are made; the attributes say `times`.
std::string write_unchecked(const TemporaryDirectory& directory,
                            const std::vector<std::vector<int64_t>>& files,
                            const ItemsChange& change = {},
                            std::pair<int64_t, int64_t> times = {10, 10}) {
  ItemColumns table;
  for (int64_t item = 0; item < 12; ++item) table.ids.push_back(item);
  table.topics.assign(12, 1);
  table.topic_names = {"blue", "red"};
  ItemsWriter items(
      directory / kItemsFile, table,
      {.actions = {"save", "view"}, .surfaces = {"home", "search"}, .vector_width = 4});
  PartList parts;
  parts.first_time = times.first;
  parts.last_time = times.second;
  for (const std::vector<int64_t>& users : files) {
    UsersWriter part(directory / part_file_name(std::ssize(parts.users), std::ssize(files)),
                     /*integer_user_ids=*/true);
    for (const int64_t user : users)
      part.add_user(user,
                    {.item = {3}, .action = {1}, .surface = {0}, .time = {10}, .duration = {2.0f}});
    parts.users.push_back(part.users());
    parts.events.push_back(part.events());
    parts.fingerprints.push_back(part.finish());
  }
  if (change) change(directory / kItemsFile);
  items.seal(parts);
  return directory.path();
}

std::string fault_of(const std::vector<std::vector<int64_t>>& files) {
  const TemporaryDirectory directory;
  return fault(write_unchecked(directory, files));
}

std::string fault_after(const ItemsChange& change) {
  const TemporaryDirectory directory;
  return fault(write_unchecked(directory, {{1}}, change));
}

TEST(DatasetValidate, UsersOutOfOrderOrTwiceAreNamed) {
  std::vector<int64_t> u(4);
  std::iota(u.begin(), u.end(), int64_t{0});
  std::sort(u.begin(), u.end(), [](int64_t a, int64_t b) { return user_hash(a) < user_hash(b); });
  EXPECT_EQ(fault_of({{u[0], u[1]}, {u[2], u[3]}}), "nothing was thrown");
  const auto names = [](const std::string& file, int64_t user, const std::string& row) {
    return AllOf(HasSubstr(file + ": user " + std::to_string(user) + " (row " + row + ","),
                 HasSubstr("dataset /user/id: expected users in the order of their (hash, id)"));
  };
  EXPECT_THAT(fault_of({{u[0], u[2], u[1], u[3]}}), names("users-00000-of-00001.h5", u[1], "2"));
  EXPECT_THAT(fault_of({{u[0], u[1], u[1], u[2]}}), names("users-00000-of-00001.h5", u[1], "2"));
  EXPECT_THAT(fault_of({{u[0], u[1]}, {u[1], u[2]}}), names("users-00001-of-00002.h5", u[1], "0"));
}

TEST(DatasetValidate, ItemsOutOfOrderOrTwiceAreNamed) {
  EXPECT_THAT(fault_after([](const std::string& items) {
                overwrite_element<int64_t>(items, "/item/id", 7, 3);
              }),
              HasSubstr("items.h5: dataset /item/id, row 7: expected ascending ids, found 3"));
}

TEST(DatasetValidate, VectorsThatAreNotFiniteAreNamed) {
  constexpr uint16_t kNan = 0x7E00;  // as float16
  EXPECT_THAT(fault_after([](const std::string& items) {
                overwrite_element<uint16_t>(items, "/item/vector", 5 * 4 + 2, kNan);
              }),
              HasSubstr("items.h5: dataset /item/vector, row 5 (item 5): expected finite"));
}

// Replaces the one place of a file that holds `from` by as many bytes.
void replace_text(const std::string& path, const std::string& from, const std::string& to) {
  std::ifstream file(path, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)), {});
  const size_t at = content.find(from);
  ASSERT_EQ(at, content.rfind(from));
  ASSERT_NE(at, std::string::npos);
  File::open_for_update(path).write_at(static_cast<int64_t>(at), to.data(), std::ssize(to));
}

TEST(DatasetValidate, NamesOutOfOrderOrTwiceAreNamed) {
  const auto error = [](const std::string& from, const std::string& to) {
    return fault_after([&](const std::string& items) { replace_text(items, from, to); });
  };
  EXPECT_THAT(error("view", "save"), HasSubstr("items.h5: dataset /vocabulary/action, row 1: "
                                               "expected names in ascending order, each once, "
                                               "found 'save' after 'save'"));
  EXPECT_THAT(error("home", "tram"),
              AllOf(HasSubstr("/vocabulary/surface, row 1"), HasSubstr("'search' after 'tram'")));
  EXPECT_THAT(error("blue", "teal"),
              AllOf(HasSubstr("/vocabulary/topic, row 1"), HasSubstr("'red' after 'teal'")));
  const TemporaryDirectory directory;
  EXPECT_THROW(ItemsWriter(directory / kItemsFile, ItemColumns(),
                           {.actions = {"save", "save"}, .surfaces = {"home"}}),
               DataError);
}

TEST(DatasetValidate, SpanOfAllEventsIsCompared) {
  const auto error = [](int64_t first, int64_t last) {
    const TemporaryDirectory directory;
    return fault(write_unchecked(directory, {{1}}, {}, {first, last}));
  };
  EXPECT_EQ(error(10, 10), "nothing was thrown");
  EXPECT_THAT(error(9, 10),
              AllOf(HasSubstr("items.h5: attributes first_time and last_time: expected 10 and 10"),
                    HasSubstr("found 9 and 10")));
  EXPECT_THAT(error(10, 11), HasSubstr("found 10 and 11"));
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
  EXPECT_THAT(dataset_summary_json(summary),
              AllOf(HasSubstr("\"p50\": 5"), HasSubstr("\"semantic_id_levels\": 0")));
}

}  // namespace
}  // namespace pinnerformer
