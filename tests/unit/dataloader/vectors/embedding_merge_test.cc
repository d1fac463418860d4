// The union of yesterday's and today's users, and what it is made from: row sets, newest times.
#include "dataloader/vectors/embedding_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <climits>
#include <map>
#include <set>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

Dataset dataset_of(const std::string& directory, const std::vector<int64_t>& users,
                   int64_t part_events = 1 << 20) {
  std::vector<EventRow> rows;
  for (const int64_t user : users)
    for (const int64_t time : {int64_t{100}, 200 + user})
      rows.push_back({.user = user, .item = 1, .time = time});
  return Dataset::open(write_dataset(directory, rows, {}, part_events));
}

// A vector file of these users in the order of a dataset.
void write_yesterday(const std::string& path, std::vector<int64_t> users) {
  std::ranges::sort(users, {}, [](int64_t id) { return user_hash(id); });
  EmbeddingFileWriter(path, {"m", "c"},
                      {{"/user", std::ssize(users), 2, true,
                        [&](int64_t) {
                          IdColumn ids;
                          for (const int64_t user : users) ids.push_back(user);
                          return ids;
                        }}})
      .publish();
}

// The walk as ids, with whether each is fresh.
std::vector<std::pair<int64_t, bool>> walk_of(EmbeddingMerge merge) {
  std::vector<std::pair<int64_t, bool>> users;
  while (merge.next()) {
    IdColumn id;
    merge.append_id(&id);
    users.emplace_back(id.number(0), merge.is_fresh());
  }
  EXPECT_FALSE(merge.next());
  return users;
}

TEST(EmbeddingMerge, IsTheUnionInTheOrderOfADataset) {
  const TemporaryDirectory directory;
  const Dataset today = dataset_of(directory.path(), {1, 2, 3, 4, 5, 6, 7, 8});
  RowSet fresh(today.users());
  for (const int64_t user : {2, 4, 7, 8}) fresh.add(*today.find_user(std::to_string(user)));
  const std::string path = directory / "yesterday.h5";
  write_yesterday(path, {3, 4, 5, 7, 20, 21});
  const EmbeddingFileReader yesterday(path, "/user");

  // 1 and 6 are in neither: not fresh, and unknown yesterday.
  const std::map<int64_t, bool> expected = {{2, true}, {3, false}, {4, true},   {5, false},
                                            {7, true}, {8, true},  {20, false}, {21, false}};
  const auto users = walk_of({today, fresh, &yesterday});
  EXPECT_EQ((std::map<int64_t, bool>(users.begin(), users.end())), expected);
  EXPECT_EQ(users.size(), expected.size());
  for (size_t i = 1; i < users.size(); ++i)
    EXPECT_LT(user_hash(users[i - 1].first), user_hash(users[i].first));

  // Rows point to where the ids came from.
  for (EmbeddingMerge merge(today, fresh, &yesterday); merge.next();) {
    IdColumn id;
    merge.append_id(&id);
    EXPECT_EQ(id.text(0), merge.is_fresh() ? today.user_id(merge.row())
                                           : yesterday.ids(merge.row(), 1).text(0));
  }
}

TEST(EmbeddingMerge, OneSideAlone) {
  const TemporaryDirectory directory;
  const Dataset today = dataset_of(directory.path(), {1, 2, 3});
  RowSet all(3);
  const RowSet none(3);
  for (int64_t row = 0; row < 3; ++row) all.add(row);
  EXPECT_EQ(walk_of({today, all, nullptr}).size(), 3U);
  EXPECT_TRUE(walk_of({today, none, nullptr}).empty());
  write_yesterday(directory / "y", {2, 9});
  const EmbeddingFileReader yesterday(directory / "y", "/user");
  for (const auto& [id, fresh] : walk_of({today, none, &yesterday})) EXPECT_FALSE(fresh) << id;
  EXPECT_EQ(walk_of({today, none, &yesterday}).size(), 2U);
  EXPECT_EQ(walk_of({today, all, &yesterday}).size(), 4U);
}

TEST(EmbeddingMerge, AnotherOrderIsRefused) {
  const TemporaryDirectory directory;
  const Dataset today = dataset_of(directory.path(), {1, 2, 3});
  EmbeddingFileWriter(directory / "y", {"m", "c"},
                      {{"/user", 2, 2, true,
                        [](int64_t) {
                          IdColumn ids;
                          ids.push_back(int64_t{5});
                          ids.push_back(int64_t{5});
                          return ids;
                        }}})
      .publish();
  const EmbeddingFileReader yesterday(directory / "y", "/user");
  EXPECT_THAT(message_of<DataError>([&] {
                walk_of({today, RowSet(3), &yesterday});
              }),
              HasSubstr("row 1"));
}

TEST(EmbeddingMerge, StringsAndIntegersDoNotMix) {
  const TemporaryDirectory directory;
  const Dataset today = dataset_of(directory.path(), {1, 2, 3});
  EmbeddingFileWriter(directory / "y", {"m", "c"},
                      {{"/user", 1, 2, false,
                        [](int64_t) {
                          IdColumn ids(false);
                          ids.push_back(std::string_view("a"));
                          return ids;
                        }}})
      .publish();
  const EmbeddingFileReader yesterday(directory / "y", "/user");
  EXPECT_THAT(message_of<DataError>([&] {
                walk_of({today, RowSet(3), &yesterday});
              }),
              HasSubstr("integers"));
}

TEST(EmbeddingMergeRowSet, HoldsWhatWasAdded) {
  for (const int64_t rows : {1, 63, 64, 65, 200}) {
    RowSet set(rows);
    std::set<int64_t> expected;
    for (int64_t row = 0; row < rows; row += 1 + row % 7 * 11) {
      set.add(row);
      expected.insert(row);
    }
    set.add(rows - 1);
    expected.insert(rows - 1);
    EXPECT_EQ(set.count(), std::ssize(expected));
    std::set<int64_t> found;
    for (int64_t row = set.next(0); row < rows; row = set.next(row + 1)) found.insert(row);
    EXPECT_EQ(found, expected) << rows;
    for (int64_t row = 0; row < rows; ++row) EXPECT_EQ(set.contains(row), expected.contains(row));
  }
  EXPECT_EQ(RowSet(0).next(0), 0);
  EXPECT_EQ(RowSet(130).next(0), 130);
}

TEST(EmbeddingMergeNewestTimes, AreThoseOfTheTimelines) {
  const TemporaryDirectory directory;
  // Several part files, since every two users fill one.
  const Dataset dataset = dataset_of(directory.path(), {1, 2, 3, 4, 5, 6, 7}, /*part_events=*/4);
  for (const int64_t first : {0, 3}) {
    const std::vector<int64_t> times = dataset.newest_times(first, dataset.users() - first);
    ASSERT_EQ(std::ssize(times), dataset.users() - first);
    for (int64_t user = first; user < dataset.users(); ++user)
      EXPECT_EQ(times[static_cast<size_t>(user - first)], dataset.timeline(user).time.back())
          << user;
  }
  EXPECT_TRUE(dataset.newest_times(2, 0).empty());
}

}  // namespace
}  // namespace pinnerformer
