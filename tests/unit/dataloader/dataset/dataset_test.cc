// Dataset reads back what was written, and refuses damaged directories with a message that helps.
#include "dataloader/dataset/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <torch/types.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/dataset_writer.h"
#include "dataloader/dataset/visit_timelines.h"
#include "dataloader/hdf5/h5_file.h"
#include "tests/support/damage.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/failing_locks.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<EventRow> three_users() {
  return {{7, 2, "save", "home", 300, 1.5f}, {7, 0, "view", "search", 100},
          {9, 1, "view", "home", 50},        {7, 1, "view", "home", 200, 2.0f},
          {11, 2, "save", "home", 400},      {9, 1, "save", "home", 60}};
}

template <typename Error, typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::string first_part(const std::string& dataset, int64_t parts = 1) {
  return dataset + "/" + part_file_name(0, parts);
}

TEST(Dataset, TimelineIsSortedByTimeWithAllColumns) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), three_users()));
  ASSERT_EQ(dataset.users(), 3);
  EXPECT_EQ(dataset.events(), 6);
  EXPECT_EQ(dataset.first_time(), 50);
  EXPECT_EQ(dataset.last_time(), 400);
  EXPECT_THAT(dataset.actions(), ElementsAre("save", "view"));
  EXPECT_THAT(dataset.surfaces(), ElementsAre("home", "search"));
  const int64_t user = dataset.find_user("7").value();
  const Timeline timeline = dataset.timeline(user);
  EXPECT_EQ(timeline.user, user);
  EXPECT_EQ(dataset.timeline_length(user), 3);
  EXPECT_THAT(timeline.item, ElementsAre(0, 1, 2));
  EXPECT_THAT(timeline.action, ElementsAre(1, 1, 0));
  EXPECT_THAT(timeline.surface, ElementsAre(1, 0, 0));
  EXPECT_THAT(timeline.time, ElementsAre(100, 200, 300));
  EXPECT_TRUE(std::isnan(timeline.duration[0]));
  EXPECT_EQ(timeline.duration[2], 1.5f);
}

TEST(Dataset, UsersAreInTheOrderOfTheirHash) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), three_users()));
  for (int64_t user = 0; user < dataset.users(); ++user) {
    EXPECT_EQ(dataset.user_hash(user), splitmix64(std::stoull(dataset.user_id(user))));
    if (user > 0) {
      EXPECT_GT(dataset.user_hash(user), dataset.user_hash(user - 1));
    }
    EXPECT_EQ(dataset.find_user(dataset.user_id(user)), user);
  }
  EXPECT_EQ(dataset.find_user("8"), std::nullopt);
  EXPECT_EQ(dataset.find_user("seven"), std::nullopt);
  EXPECT_EQ(dataset.find_item("2"), 2);
  EXPECT_EQ(dataset.find_item("3"), std::nullopt);
}

TEST(Dataset, BlocksOfUsersCrossPartFiles) {
  const TemporaryDirectory directory;
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 50; ++user) {
    for (int64_t event = 0; event < user % 7 + 1; ++event)
      rows.push_back({user, event, "a", "s", event});
  }
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), rows, {}, 20));
  const std::vector<Timeline> block = dataset.timelines(0, 50);
  for (int64_t user = 0; user < 50; ++user) {
    const Timeline alone = dataset.timeline(user);
    EXPECT_EQ(block[static_cast<size_t>(user)].user, user);
    EXPECT_EQ(block[static_cast<size_t>(user)].item, alone.item);
    EXPECT_EQ(block[static_cast<size_t>(user)].time, alone.time);
    EXPECT_EQ(alone.size(), std::stoll(dataset.user_id(user)) % 7 + 1);
  }
  EXPECT_THROW(static_cast<void>(dataset.timelines(40, 11)), std::out_of_range);
  EXPECT_FALSE(std::filesystem::exists(dataset.directory() + "/" + part_file_name(0, 1)));
}

TEST(Dataset, VectorsTitlesAndTopicsComeBack) {
  const TemporaryDirectory directory;
  FixtureItems items;
  items.vectors = torch::arange(12, torch::kFloat32).view({4, 3});
  items.titles = {"zero", "", "zwei", "три"};
  items.topics = {1, -1, 0, 1};
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), three_users(), items));
  EXPECT_EQ(dataset.items(), 4);
  EXPECT_EQ(dataset.vector_width(), 3);
  EXPECT_EQ(dataset.item_vectors().scalar_type(), torch::kFloat16);
  EXPECT_TRUE(torch::equal(dataset.item_vectors().to(torch::kFloat32), items.vectors));
  EXPECT_EQ(dataset.item_title(3), "три");
  EXPECT_EQ(dataset.item_topics(), items.topics);
  EXPECT_THAT(dataset.topic_names(), ElementsAre("topic0", "topic1"));
}

TEST(Dataset, Float32VectorsStayFloat32AndOutliveTheDataset) {
  const TemporaryDirectory directory;
  FixtureItems items;
  items.vectors = torch::rand({5, 7});
  items.float32_vectors = true;
  torch::Tensor kept;
  {
    const Dataset dataset = Dataset::open(write_dataset(directory.path(), three_users(), items));
    kept = dataset.item_vectors();
  }
  EXPECT_TRUE(torch::equal(kept, items.vectors));
}

TEST(Dataset, WithoutVectorsTheTensorIsUndefined) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), three_users()));
  EXPECT_FALSE(dataset.item_vectors().defined());
  EXPECT_EQ(dataset.vector_width(), 0);
  EXPECT_FALSE(dataset.has_titles());
  EXPECT_EQ(dataset.item_title(0), "");
}

TEST(Dataset, FingerprintFollowsTheContent) {
  const TemporaryDirectory one;
  const TemporaryDirectory two;
  const TemporaryDirectory other;
  std::vector<EventRow> rows = three_users();
  const Dataset a = Dataset::open(write_dataset(one.path(), rows));
  const Dataset b = Dataset::open(write_dataset(two.path(), rows));
  rows[0].duration = 1.25f;
  const Dataset c = Dataset::open(write_dataset(other.path(), rows));
  EXPECT_EQ(a.fingerprint(), b.fingerprint());
  EXPECT_NE(a.fingerprint(), c.fingerprint());
}

TEST(Dataset, StringIdsAreFoundAndOrdered) {
  const TemporaryDirectory directory;
  ItemColumns items;
  items.ids = IdColumn(false);
  for (const char* id : {"", "B7", "apple", "ö"}) items.ids.push_back(std::string_view(id));
  DatasetWriterOptions options{.directory = directory / "d", .actions = {"a"}, .surfaces = {"s"}};
  options.integer_user_ids = false;
  DatasetWriter writer(options, items);
  std::vector<std::string> users = {"anna", "bob", "007"};
  std::sort(users.begin(), users.end(), [](const std::string& a, const std::string& b) {
    return user_hash(std::string_view(a)) < user_hash(std::string_view(b));
  });
  for (const std::string& user : users) {
    writer.add_user(user,
                    {.item = {1}, .action = {0}, .surface = {0}, .time = {5}, .duration = {0}});
  }
  writer.finish();
  const Dataset dataset = Dataset::open(directory / "d");
  EXPECT_FALSE(dataset.user_ids_are_integers());
  for (int64_t row = 0; row < 3; ++row) {
    EXPECT_EQ(dataset.user_id(row), users[static_cast<size_t>(row)]);
    EXPECT_EQ(dataset.find_user(users[static_cast<size_t>(row)]), row);
  }
  EXPECT_EQ(dataset.find_user("7"), std::nullopt);
  EXPECT_EQ(dataset.find_item("apple"), 2);
  EXPECT_EQ(dataset.find_item(""), 0);
  EXPECT_EQ(dataset.item_id(3), "ö");
}

TEST(Dataset, ManyThreadsReadTheSame) {
  const TemporaryDirectory directory;
  std::vector<EventRow> rows;
  for (int64_t i = 0; i < 3000; ++i) rows.push_back({i % 100, i % 17, "a", "s", i});
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), rows, {}, 700));
  std::vector<int64_t> sums(4, 0);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < sums.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int64_t user = 0; user < dataset.users(); ++user) {
        for (const int64_t time : dataset.timeline(user).time) sums[t] += time;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(sums, testing::Each(3000 * 2999 / 2));
}

TEST(Dataset, DamagedTimelinesAreRefusedWhereverTheyAreRead) {
  const TemporaryDirectory directory;
  const std::string path =
      write_dataset(directory.path(), {{.user = 1, .item = 1, .action = "save", .time = 10},
                                       {.user = 2, .item = 1, .action = "save", .time = 10},
                                       {.user = 3, .item = 1, .action = "save", .time = 10}});
  overwrite_element<int32_t>(path + "/" + part_file_name(0, 1), "/event/item", 1, 1'000'000);
  const Dataset dataset = Dataset::open(path);
  EXPECT_EQ(dataset.timeline(0).size(), 1);
  EXPECT_THROW(static_cast<void>(dataset.timeline(1)), DataError);
  std::vector<int64_t> users;
  const auto visit = [&](const Timeline& timeline) { users.push_back(timeline.user); };
  EXPECT_THROW(visit_timelines(dataset, {0, 3}, visit), DataError);
  users.clear();
  visit_undamaged_timelines(dataset, {0, 3}, visit);
  EXPECT_EQ(users, (std::vector<int64_t>{0, 2}));
}

TEST(Dataset, MissingDirectoryAndMissingItemsFile) {
  const TemporaryDirectory directory;
  EXPECT_THAT(message_of<MissingInputError>([&] { Dataset::open(directory / "none"); }),
              HasSubstr("pinnerformer import"));
  EXPECT_THAT(message_of<MissingInputError>([&] { Dataset::open(directory.path()); }),
              HasSubstr("has no items.h5"));
}

TEST(Dataset, TruncatedFileIsRefusedAtOpen) {
  const TemporaryDirectory directory;
  std::vector<EventRow> rows;
  for (int64_t i = 0; i < 20000; ++i) rows.push_back({1, i % 10, "a", "s", i});
  const std::string path = write_dataset(directory.path(), rows);
  const auto size = std::filesystem::file_size(first_part(path));
  std::filesystem::resize_file(first_part(path), size / 2);
  EXPECT_THAT(message_of<DataError>([&] { Dataset::open(path); }),
              testing::AllOf(HasSubstr("users-00000-of-00001.h5"), HasSubstr("truncated")));
}

// HDF5 keeps no checksum of this header.
TEST(Dataset, DamagedHeaderIsRefusedAtOpen) {
  constexpr int64_t kSignature = 0, kBytesPerAddress = 13;
  for (const char* name : {"items.h5", "users-00000-of-00001.h5"}) {
    for (const int64_t place : {kSignature, kBytesPerAddress}) {
      const TemporaryDirectory directory;
      const std::string path = write_dataset(directory.path(), three_users());
      const std::string file = path + "/" + name;
      const unsigned char wrong = 0xF7;
      File::open_for_update(file).write_at(place, &wrong, 1);
      EXPECT_THAT(message_of<DataError>([&] { Dataset::open(path); }),
                  testing::AllOf(HasSubstr(file), HasSubstr("expected an HDF5 file")))
          << "byte " << place;
    }
  }
}

TEST(Dataset, MissingPartFileIsNamed) {
  const TemporaryDirectory directory;
  const std::string path = write_dataset(directory.path(), three_users(), {}, 1);
  std::filesystem::remove(path + "/" + part_file_name(1, 3));
  EXPECT_THAT(message_of<DataError>([&] { Dataset::open(path); }),
              HasSubstr("users-00001-of-00003.h5 is missing"));
}

TEST(Dataset, PartOfAnotherDatasetIsRefused) {
  const TemporaryDirectory one;
  const TemporaryDirectory two;
  std::vector<EventRow> rows = three_users();
  const std::string path = write_dataset(one.path(), rows);
  rows[0].duration = 77.0f;
  const std::string other = write_dataset(two.path(), rows);
  std::filesystem::copy_file(first_part(other), first_part(path),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(message_of<DataError>([&] { Dataset::open(path); }),
              HasSubstr("does not belong to the items.h5 beside it"));
}

// A users file made by hand, with one dataset of another type or length.
std::string users_file_with(const TemporaryDirectory& directory, const std::string& dataset,
                            ElementType type, int64_t length) {
  const std::string path = write_dataset(directory.path(), three_users());
  H5File file = H5File::create(first_part(path));
  file.set_attribute("format", std::string(kDatasetFormat));
  file.set_attribute("version", int64_t{1});
  file.set_attribute("fingerprint", std::string("0"));
  const auto define = [&](const std::string& name, ElementType usual, int64_t count) {
    const bool odd = name == dataset;
    file.define(name, odd ? type : usual, {odd ? length : count});
  };
  define("/user/id", ElementType::kInt64, 3);
  file.write("/user/offset", std::vector<int64_t>{0, 4, 2, 6});
  define("/event/item", ElementType::kInt32, 6);
  define("/event/action", ElementType::kInt16, 6);
  define("/event/surface", ElementType::kInt16, 6);
  define("/event/time", ElementType::kInt64, 6);
  define("/event/duration", ElementType::kFloat32, 6);
  file.close();
  return path;
}

TEST(Dataset, WrongTypeLengthOrOffsetsNameExpectedAndFound) {
  const TemporaryDirectory directory;
  const auto error = [&](const std::string& dataset, ElementType type, int64_t length) {
    const std::string path = users_file_with(directory, dataset, type, length);
    return message_of<DataError>([&] { Dataset::open(path); });
  };
  EXPECT_THAT(error("/event/item", ElementType::kInt64, 6),
              HasSubstr("dataset /event/item: expected int32 (little endian), found int64"));
  EXPECT_THAT(error("/event/time", ElementType::kInt64, 5),
              HasSubstr("dataset /event/time: expected 6 events, as /event/item has, found 5"));
  EXPECT_THAT(error("/user/id", ElementType::kInt64, 2), HasSubstr("expected 3 users"));
  EXPECT_THAT(error("", ElementType::kInt64, 0),
              HasSubstr("expected ascending numbers, found 2 after 4 at row 2"));
}

TEST(Dataset, NewerVersionAndForeignFilesAreRefused) {
  const TemporaryDirectory directory;
  const std::string path = directory / "items.h5";
  H5File file = H5File::create(path);
  file.set_attribute("format", std::string(kDatasetFormat));
  file.set_attribute("version", int64_t{2});
  file.close();
  EXPECT_THAT(message_of<DataError>([&] { Dataset::open(directory.path()); }),
              HasSubstr("expected format version 1, found 2"));
  H5File::create(path).close();
  EXPECT_THAT(message_of<DataError>([&] { Dataset::open(directory.path()); }),
              HasSubstr("attribute 'format' of / is missing"));
  write_file(path, "not hdf5");
  EXPECT_THAT(message_of<DataError>([&] { Dataset::open(directory.path()); }),
              HasSubstr("expected an HDF5 file"));
}

// Readers take no locks, so neither another program's lock nor a file system without any matters.
TEST(Dataset, OpensWhereFilesAreLockedOrCannotBe) {
  const TemporaryDirectory directory;
  const std::string path = write_dataset(directory.path(), three_users());
  const File locked = File::open(first_part(path));
  ASSERT_EQ(::flock(locked.descriptor(), LOCK_EX), 0);
  EXPECT_EQ(Dataset::open(path).users(), 3);
  const FailingLocks no_locks;
  EXPECT_EQ(::flock(locked.descriptor(), LOCK_EX), -1);
  EXPECT_EQ(Dataset::open(path).timeline(0).size(), Dataset::open(path).timeline_length(0));
}

// One copy in the page cache for all ranks of a node, in the type of the file.
TEST(Dataset, VectorsAreAMapOfTheFileAndNoCopy) {
  const TemporaryDirectory directory;
  FixtureItems items;
  items.vectors = torch::rand({5000, 32});
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), three_users(), items));
  EXPECT_EQ(dataset.item_vectors().scalar_type(), torch::kFloat16);
  const auto address = reinterpret_cast<uintptr_t>(dataset.item_vectors().const_data_ptr());
  std::ifstream maps("/proc/self/maps");
  std::string found;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "%lx-%lx", &begin, &end), 2);
    if (begin <= address && address < end) found = line;
  }
  EXPECT_THAT(found, HasSubstr("r--s")) << "read only, shared";
  EXPECT_THAT(found, HasSubstr("items.h5"));
}

// Hundreds of files, some with a single user: a reader does not see where one ends.
TEST(Dataset, HundredsOfPartsReadLikeOne) {
  const TemporaryDirectory one, many;
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 900; ++user)
    for (int64_t event = 0; event < 1 + user % 11; ++event)
      rows.push_back({user, event, event % 2 ? "a" : "b", "s", 10 * event});
  const Dataset whole = Dataset::open(write_dataset(one.path(), rows));
  const Dataset parts = Dataset::open(write_dataset(many.path(), rows, {}, 12));
  const std::filesystem::directory_iterator files(parts.directory());
  EXPECT_GT(std::distance(begin(files), end(files)), 300);
  EventBlock a, b;
  for (int64_t first = 0; first < 900; first += 130) {
    const int64_t count = std::min<int64_t>(130, 900 - first);
    whole.read(first, count, a);
    parts.read(first, count, b);
    EXPECT_EQ(a.start, b.start);
    EXPECT_EQ(a.item, b.item);
    EXPECT_EQ(a.time, b.time);
    EXPECT_EQ(a.action, b.action);
  }
}

}  // namespace
}  // namespace pinnerformer
