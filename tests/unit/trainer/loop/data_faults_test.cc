// What one rank's loader meets, all ranks know within the step: they stop together with the same
// error, or skip and count.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset_format.h"
#include "tests/support/damage.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/fault_injection.h"
#include "tests/support/rank_threads.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_rows.h"
#include "tests/support/training_world.h"
#include "trainer/objective/positive_exchange.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

constexpr int64_t kUsers = 47;

class DataFaultsTest : public testing::Test {
 protected:
  DataFaultsTest() : path_(write_tiny_dataset(directory_.path(), kUsers)) {}

  [[nodiscard]] std::string users_file() const { return path_ + "/" + part_file_name(0, 1); }

  // What each rank of a training run throws, in the order they do.
  template <class Error>
  std::vector<std::string> errors_of(int world, DataOptions data,
                                     const std::function<void()>& after_opening = {}) {
    const Dataset dataset = Dataset::open(path_);
    if (after_opening) after_opening();
    std::vector<std::string> errors;
    std::mutex mutex;
    data.block_users = 4;
    EXPECT_THROW(static_cast<void>(train_world(
                     dataset, world, tiny_trainer_options(directory_ / "run"),
                     [&](Trainer& trainer) {
                       try {
                         trainer.train();
                       } catch (const Error& error) {
                         const std::lock_guard lock(mutex);
                         errors.emplace_back(error.what());
                         throw;
                       }
                     },
                     data)),
                 Error);
    return errors;
  }

  static DataOptions unverified() {
    DataOptions data;
    data.verify_checksums = false;
    return data;
  }

  TemporaryDirectory directory_;
  std::string path_;
};

// A batch without pairs, one slot on each rank.
TrainingBatch batch_of_one_slot(const Communicator& comm) {
  TrainingBatch batch = training_batch({{0, timeline_of({{0, 0, false}}), {0, 1, {}}, 0}});
  batch.slot = {0};
  batch.slots = 1;
  batch.global_slots = comm.size();
  return batch;
}

TEST_F(DataFaultsTest, AllRanksStopWithTheErrorOfTheOneThatMetIt) {
  run_ranks(3, [](Communicator& comm) {
    TrainingBatch batch = batch_of_one_slot(comm);
    if (comm.rank() == 1)
      batch.failure = std::make_exception_ptr(IoError("cannot read users-00000-of-00001.h5"));
    const DataFaults faults = gather_positives(batch, {}, {}, comm).faults;
    try {
      static_cast<void>(share_faults(faults, batch, comm));
      ADD_FAILURE() << "rank " << comm.rank() << " goes on";
    } catch (const IoError& error) {
      EXPECT_STREQ(error.what(), "rank 1: cannot read users-00000-of-00001.h5");
    }
  });
}

TEST_F(DataFaultsTest, SkippedUsersAreAddedUpAndTheFirstReasonIsTold) {
  run_ranks(3, [](Communicator& comm) {
    TrainingBatch batch = batch_of_one_slot(comm);
    batch.skipped_users = 4 * comm.rank();
    batch.skipped_because = "reason of " + std::to_string(comm.rank());
    const DataFaults faults = gather_positives(batch, {}, {}, comm).faults;
    EXPECT_EQ(share_faults(faults, batch, comm),
              "skipped 12 users of bad blocks; the first: rank 1: reason of 1");
    EXPECT_EQ(share_faults({}, {}, comm), "");
  });
}

TEST_F(DataFaultsTest, RequestsOfARankReachAll) {
  const auto heard = [](int asking, RankRequests asked) {
    std::array<RankRequests, 3> all;
    run_ranks(3, [&](Communicator& comm) {
      const RankRequests mine = comm.rank() == asking ? asked : RankRequests();
      const GlobalPositives global = gather_positives(batch_of_one_slot(comm), {}, {}, comm, mine);
      EXPECT_EQ(global.faults.failed_rank, -1);
      all.at(static_cast<size_t>(comm.rank())) = global.requests;
    });
    return all;
  };
  for (const int asking : {-1, 0, 2})
    for (const RankRequests asked : {RankRequests{.stop = true}, RankRequests{.save_failed = true}})
      for (const RankRequests& found : heard(asking, asked)) {
        EXPECT_EQ(found.stop, asking >= 0 && asked.stop) << asking;
        EXPECT_EQ(found.save_failed, asking >= 0 && asked.save_failed) << asking;
      }
}

TEST_F(DataFaultsTest, FlippedByteIsFoundByItsChecksum) {
  overwrite_element<float>(users_file(), "/event/duration", 17, 23.5f);
  for (const int world : {1, 3})
    EXPECT_THAT(errors_of<DataError>(world, {}),
                AllOf(SizeIs(world), Each(AllOf(HasSubstr(users_file()),
                                                HasSubstr("dataset /event/duration, rows 0 to "),
                                                HasSubstr("checksum")))));
}

TEST_F(DataFaultsTest, BrokenPromisesAreFoundWithoutChecksumsToo) {
  const Dataset dataset = Dataset::open(path_);
  int64_t user = 0;  // with a time to go back from
  int64_t event = 0;
  for (; dataset.timeline_length(user) < 3 ||
         dataset.timeline(user).time[0] == dataset.timeline(user).time[1];
       ++user)
    event += dataset.timeline_length(user);
  const auto expect = [&](const char* column, const char* what) {
    EXPECT_THAT(errors_of<DataError>(2, unverified()),
                AllOf(SizeIs(2), Each(AllOf(HasSubstr(users_file()), HasSubstr(column),
                                            HasSubstr(what), HasSubstr(", events ")))));
    path_ = write_tiny_dataset(directory_.path(), kUsers);
  };
  overwrite_element<int32_t>(users_file(), "/event/item", event, kTinyItems);
  expect("/event/item", "no such item 40");
  overwrite_element<int32_t>(users_file(), "/event/item", event, -1);
  expect("/event/item", "no such item -1");
  overwrite_element<int16_t>(users_file(), "/event/action", event, 2);
  expect("/event/action", "no such action 2");
  overwrite_element<int16_t>(users_file(), "/event/surface", event, -3);
  expect("/event/surface", "no such surface -3");
  overwrite_element<int64_t>(users_file(), "/event/time", event + 1, 1);
  expect("/event/time", "earlier than the event before it");
  overwrite_element<float>(users_file(), "/event/duration", event, -1.0f);
  expect("/event/duration", "expected 0 or more");
  overwrite_element<float>(users_file(), "/event/duration", event, INFINITY);
  expect("/event/duration", "expected 0 or more");
}

TEST_F(DataFaultsTest, FailingDiskStopsAllRanks) {
  for (const int world : {1, 2, 4}) {
    EXPECT_THAT(
        errors_of<IoError>(world, unverified(),
                           [&] {
                             arm_faults({users_file(), Fault::kReadError, 0, INT64_MAX});
                           }),
        AllOf(SizeIs(world), Each(AllOf(HasSubstr(users_file()), HasSubstr("Input/output error"),
                                        HasSubstr("dataset /event/item, rows ")))));
    disarm_faults();
  }
}

TEST_F(DataFaultsTest, FileCutShortInUseStopsAllRanks) {
  EXPECT_THAT(errors_of<DataError>(2, {},
                                   [&] {
                                     std::filesystem::resize_file(
                                         users_file(),
                                         std::filesystem::file_size(users_file()) / 2);
                                   }),
              AllOf(SizeIs(2), Each(AllOf(HasSubstr(users_file()), HasSubstr("cut short")))));
}

// POSIX keeps the content of an open file.
TEST_F(DataFaultsTest, RemovedFileIsReadToTheEnd) {
  const Dataset dataset = Dataset::open(path_);
  std::filesystem::remove(users_file());
  EXPECT_EQ(train_world(dataset, 2, tiny_trainer_options(directory_ / "run")).losses.size(), 20U);
}

TEST_F(DataFaultsTest, SkippingGoesOnAndCountsInTheLog) {
  overwrite_element<int32_t>(users_file(), "/event/item", 30, kTinyItems);
  const Dataset dataset = Dataset::open(path_);
  DataOptions data = unverified();
  data.on_bad_block = OnBadBlock::kSkip;
  std::vector<double> losses;
  for (const int world : {1, 2}) {
    const std::string run = directory_ / ("run" + std::to_string(world));
    const Trained trained = train_world(dataset, world, tiny_trainer_options(run), {}, data);
    ASSERT_EQ(trained.losses.size(), 20U);
    if (losses.empty()) losses = trained.losses;
    for (size_t step = 0; step < losses.size(); ++step)
      EXPECT_NEAR(trained.losses[step], losses[step], 1e-4) << step << " on " << world << " ranks";
    std::ifstream metrics(run + "/metrics.jsonl");
    int64_t skipped = 0;
    for (std::string line; std::getline(metrics, line);)
      skipped += nlohmann::json::parse(line).at("skipped_users").get<int64_t>();
    EXPECT_GE(skipped, 4 * 4) << "four epochs, a block of four users in each";
    std::ifstream text(run + "/log.txt");
    const std::string log((std::istreambuf_iterator<char>(text)), {});
    EXPECT_THAT(log, AllOf(HasSubstr("skipped 4 users of bad blocks; the first: "),
                           HasSubstr(users_file()), HasSubstr("no such item 40")));
  }
}

}  // namespace
}  // namespace pinnerformer
