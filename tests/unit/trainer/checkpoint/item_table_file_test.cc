// The item table in a checkpoint: any ranks and placement write and read it, and inference finds
// the rows of other datasets by the ids of their items.
#include "trainer/checkpoint/item_table_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>

#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/fault_injection.h"
#include "tests/support/item_table_oracle.h"
#include "tests/support/message_of.h"
#include "tests/support/rank_threads.h"
#include "tests/support/whole_item_table.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/stored_item_table.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

constexpr int64_t kWidth = 4;

// Items with these external ids, in this order of rows, each seen once by one user.
Dataset dataset_of(const std::string& directory, int64_t items) {
  std::vector<EventRow> rows;
  for (int64_t item = 0; item < items; ++item) {
    EventRow row;
    row.user = 1;
    row.item = item;
    row.time = 1'600'000'000 + item;
    rows.push_back(row);
  }
  std::filesystem::create_directories(directory);
  return Dataset::open(write_dataset(directory, rows));
}

class ItemTableFileTest : public testing::Test {
 protected:
  ItemTableFileTest() : dataset_(dataset_of(directory_ / "training", 10)) {
    table_.placement = ItemPlacement::kRowSharded;
    table_.dim = kWidth;
  }

  [[nodiscard]] std::unique_ptr<ItemTable> make_table(const ItemTableOptions& options, int64_t seed,
                                                      Communicator& comm) const {
    return std::make_unique<ItemTable>(options, optimizer_, ItemRows(options, dataset_).count(),
                                       seed, Ranks{&comm, &comm});
  }

  // One step on these rows, all of them used by rank 0.
  static void train(ItemTable& table, const std::vector<int64_t>& rows, const Communicator& comm) {
    table.request(torch::tensor(comm.rank() == 0 ? rows : std::vector<int64_t>(), torch::kInt64));
    table.return_gradients(torch::full_like(table.receive(), 0.5));
    table.update(0.1);
  }

  // Trains rows 1, 2, 3 and the unknown one of a fresh table and writes it to `directory`.
  std::map<std::string, torch::Tensor> write(const std::string& directory,
                                             const ItemTableOptions& options, int ranks) {
    std::filesystem::create_directories(directory);
    std::map<std::string, torch::Tensor> columns;
    run_ranks(ranks, [&](Communicator& comm) {
      const auto table = make_table(options, /*seed=*/7, comm);
      train(*table, {1, 2, 3, table->rows() - 1}, comm);
      for (const auto& [name, write] : item_table_writers(*table, vocabulary_of(dataset_), comm))
        static_cast<void>(write(comm.rank() == 0 ? directory + "/" + name : ""));
      const auto whole = whole_item_table(*table, comm);
      if (comm.rank() == 0) columns = whole;
    });
    return columns;
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
  ItemTableOptions table_;
  OptimizerOptions optimizer_;
};

TEST_F(ItemTableFileTest, AnyRanksAndPlacementReadWhatAnyWrote) {
  for (const char* optimizer : {"rowwise_adagrad", "lazy_adam", "adam"})
    for (const char* placement : {"replicated", "row_sharded"}) {
      ItemTableOptions written = table_;
      written.placement = enum_value<ItemPlacement>(placement);
      written.optimizer = enum_value<RowOptimizerKind>(optimizer);
      const std::string place = directory_ / (std::string(placement) + optimizer);
      const auto expected = write(place, written, 3);
      for (const char* other : {"replicated", "row_sharded"})
        for (const int ranks : {1, 2, 4, 13}) {
          ItemTableOptions read = written;
          read.placement = enum_value<ItemPlacement>(other);
          run_ranks(ranks, [&](Communicator& comm) {
            const auto table = make_table(read, /*seed=*/8, comm);
            if (comm.rank() == 0) check_item_table(place, *table);
            load_item_table(comm.rank() == 0 ? place : "", *table, comm);
            for (const auto& [name, column] : whole_item_table(*table, comm))
              EXPECT_TRUE(torch::equal(column, expected.at(name))) << name;
          });
        }
    }
}

// A large job in one process, a thread per rank: a save and a start call on every rank.
TEST_F(ItemTableFileTest, A1024RanksSaveAndReadOneTable) {
  constexpr int kRanks = 1024;
  ItemTableOptions options = table_;
  options.hash_buckets = 4 * kRanks;
  const std::string place = directory_ / "large";
  std::filesystem::create_directories(place);
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point then) {
    return std::chrono::duration<double>(Clock::now() - then).count();
  };
  double saved = 0, read = 0;
  run_ranks(
      kRanks,
      [&](Communicator& comm) {
        const auto table = make_table(options, /*seed=*/7, comm);
        train(*table, {1, 2, 3, table->rows() - 1}, comm);
        comm.barrier("begin");
        const Clock::time_point begin = Clock::now();
        for (const auto& [name, write] : item_table_writers(*table, vocabulary_of(dataset_), comm))
          static_cast<void>(write(comm.rank() == 0 ? place + "/" + name : ""));
        comm.barrier("saved");
        if (comm.rank() == 0) saved = seconds_since(begin);
        const Clock::time_point again = Clock::now();
        const auto fresh = make_table(options, /*seed=*/8, comm);
        load_item_table(comm.rank() == 0 ? place : "", *fresh, comm);
        comm.barrier("read");
        if (comm.rank() == 0) read = seconds_since(again);
        const auto columns = table->model_state();
        for (const auto& [name, column] : fresh->model_state())
          EXPECT_TRUE(torch::equal(column, columns.at(name))) << name << ", rank " << comm.rank();
      },
      /*timeout_seconds=*/300);
  std::cout << kRanks << " ranks saved a table in " << saved << " s and read it in " << read
            << " s\n";
  EXPECT_LT(saved, 120);
  EXPECT_LT(read, 120);
}

// Slices come from all ranks, so all of them try again.
TEST_F(ItemTableFileTest, ErrorsThatPassAreOvercomeByAllRanksTogether) {
  write(directory_ / "undisturbed", table_, 3);
  const std::string place = directory_ / "disturbed";
  arm_faults({place, Fault::kCount, 0, 0});
  write(place, table_, 3);
  const int64_t calls = calls_seen();
  disarm_faults();
  EXPECT_GE(calls, 10);
  for (int64_t call = 1; call < calls; ++call) {  // the first one makes the directory
    std::filesystem::remove_all(place);
    arm_faults({place, Fault::kIoError, call, 1});
    write(place, table_, 3);
    EXPECT_GT(calls_seen(), calls) << "call " << call << " was not tried again";
    disarm_faults();
    for (const char* file : {kItemTableFile, kItemTableTrainingFile})
      EXPECT_EQ(digest_file(place + "/" + file).xxh3,
                digest_file((directory_ / "undisturbed/") + file).xxh3)
          << "call " << call;
  }
}

TEST_F(ItemTableFileTest, NumberOfRanksAndPlacementChangeNoByte) {
  write(directory_ / "a", table_, 4);
  ItemTableOptions replicated = table_;
  replicated.placement = ItemPlacement::kReplicated;
  write(directory_ / "b", replicated, 2);
  for (const char* file : {kItemTableFile, kItemTableTrainingFile})
    EXPECT_EQ(digest_file(directory_ / "a/" + file).xxh3,
              digest_file(directory_ / "b/" + file).xxh3);
}

TEST_F(ItemTableFileTest, TableOfAnotherShapeOrRuleIsRefused) {
  write(directory_ / "a", table_, 2);
  const auto comm = make_single_communicator();
  const auto message = [&](const ItemTableOptions& options) {
    const auto table = make_table(options, 7, *comm);
    return message_of<CheckpointError>([&] { check_item_table(directory_ / "a", *table); });
  };
  EXPECT_EQ(message(table_), "no error");
  ItemTableOptions wider = table_;
  wider.dim = 5;
  EXPECT_THAT(message(wider), HasSubstr("'rows' has shape [11, 4] there, [11, 5] here"));
  ItemTableOptions hashed = table_;
  hashed.hash_buckets = 6;
  EXPECT_THAT(message(hashed), HasSubstr("[11, 4] there, [7, 4] here"));
  ItemTableOptions adam = table_;
  adam.optimizer = RowOptimizerKind::kLazyAdam;
  EXPECT_THAT(message(adam), HasSubstr("another item.table.optimizer"));
}

TEST_F(ItemTableFileTest, ItemsWithoutATrainedRowReadTheUnknownOne) {
  const torch::Tensor rows = write(directory_ / "a", table_, 2).at("rows");
  const StoredItemTable stored(directory_ / "a", table_, dataset_);
  EXPECT_EQ(stored.new_items(), 0);
  EXPECT_EQ(stored.untrained_items(), 7);
  const torch::Tensor found = stored.rows(torch::tensor({{1, 2}, {3, 4}}, torch::kInt64));
  ASSERT_EQ(found.sizes(), (std::vector<int64_t>{2, 2, kWidth}));
  EXPECT_TRUE(torch::equal(found[0][0], rows[1]));
  EXPECT_TRUE(torch::equal(found[1][0], rows[3]));
  EXPECT_TRUE(torch::equal(found[1][1], rows[10])) << "item 4 was in no step";
  EXPECT_GT(rows[10].norm().item<float>(), 0);
}

TEST_F(ItemTableFileTest, ItemsOfAnotherDatasetAreFoundByTheirId) {
  const torch::Tensor rows = write(directory_ / "a", table_, 2).at("rows");
  const Dataset later = dataset_of(directory_ / "later", 13);
  const StoredItemTable stored(directory_ / "a", table_, later);
  EXPECT_EQ(stored.new_items(), 3);
  EXPECT_EQ(stored.untrained_items(), 7);
  const torch::Tensor found = stored.rows(torch::arange(13));
  for (int64_t item = 0; item < 13; ++item) {
    const bool known =
        later.item_id(item) == "1" || later.item_id(item) == "2" || later.item_id(item) == "3";
    const int64_t row = known ? std::stoll(later.item_id(item)) : 10;
    EXPECT_TRUE(torch::equal(found[item], rows[row])) << later.item_id(item);
  }
}

TEST_F(ItemTableFileTest, BucketsAreFoundByTheSameHash) {
  ItemTableOptions hashed = table_;
  hashed.hash_buckets = 6;
  const torch::Tensor rows = write(directory_ / "a", hashed, 2).at("rows");
  const StoredItemTable stored(directory_ / "a", hashed, dataset_);
  const ItemRows mapping(hashed, dataset_);
  const torch::Tensor found = stored.rows(torch::arange(10));
  for (int64_t item = 0; item < 10; ++item) {
    const int64_t row = mapping.row(item);
    EXPECT_TRUE(torch::equal(found[item], rows[row >= 1 && row <= 3 ? row : 6])) << item;
  }
  const ItemTableSummary summary = summarise_item_table(directory_ / "a", hashed);
  EXPECT_EQ(summary.items, 10);
  EXPECT_EQ(summary.rows, 6);
  EXPECT_EQ(summary.collisions, mapping.collisions());
  EXPECT_EQ(summary.trained_rows, 3);
  EXPECT_THAT(message_of<CheckpointError>(
                  [&] { static_cast<void>(StoredItemTable(directory_ / "a", table_, dataset_)); }),
              HasSubstr("7 rows"));
}

std::string checkpoint_in(const std::string& directory, int64_t step) {
  return directory + "/step-00000000" + std::to_string(step);
}

// The checkpoint of a step; returns the table as it is.
std::map<std::string, torch::Tensor> save(ItemTableSaver& saver, ItemTable& table,
                                          const std::string& directory, int64_t step,
                                          Communicator& comm) {
  Checkpoint checkpoint;
  checkpoint.info.step = step;
  const TableWriters writers = saver.next();
  checkpoint.streamed = writers.now;
  checkpoint.deferred = writers.later;
  if (comm.rank() == 0) {
    EXPECT_EQ(save_checkpoint(directory, checkpoint), checkpoint_in(directory, step));
  } else {
    for (const auto& [name, take_part] : checkpoint.streamed) static_cast<void>(take_part(""));
  }
  saver.saved(checkpoint_in(directory, step));
  return whole_item_table(table, comm);
}

TEST_F(ItemTableFileTest, ChangedRowsOverTheLastWholeCopyAreTheTable) {
  for (const char* placement : {"replicated", "row_sharded"})
    for (const int ranks : {1, 3}) {
      table_.placement = enum_value<ItemPlacement>(placement);
      table_.optimizer =
          ranks == 1 ? RowOptimizerKind::kLazyAdam : RowOptimizerKind::kRowwiseAdagrad;
      const std::string place = directory_ / (placement + std::to_string(ranks));
      std::vector<std::map<std::string, torch::Tensor>> expected;
      run_ranks(ranks, [&](Communicator& comm) {
        const auto table = make_table(table_, /*seed=*/7, comm);
        ItemTableSaver saver(*table, vocabulary_of(dataset_), /*full_every=*/3, comm);
        const std::vector<std::vector<int64_t>> steps = {{1, 2}, {2, 4}, {9},
                                                         {3},    {},     {0, 1, 2, 3, 4, 5}};
        for (size_t i = 0; i < steps.size(); ++i) {
          train(*table, steps[i], comm);
          const auto columns = save(saver, *table, place, static_cast<int64_t>(i), comm);
          if (comm.rank() == 0) expected.push_back(columns);
        }
      });
      const auto changes_in = [&](int64_t i) {
        const std::string file = checkpoint_in(place, i) + "/" + kItemTableChangesFile;
        if (!std::filesystem::exists(file)) return std::vector<int64_t>{-1};
        const torch::Tensor rows = read_safetensors(file).at("row");
        std::vector<int64_t> list(rows.data_ptr<int64_t>(),
                                  rows.data_ptr<int64_t>() + rows.numel());
        std::sort(list.begin(), list.end());
        return list;
      };
      EXPECT_THAT(changes_in(0), testing::ElementsAre(-1)) << "the first is whole";
      EXPECT_THAT(changes_in(1), testing::ElementsAre(2, 4));
      EXPECT_THAT(changes_in(2), testing::ElementsAre(2, 4, 9));
      EXPECT_THAT(changes_in(3), testing::ElementsAre(-1)) << "its turn";
      EXPECT_THAT(changes_in(4), testing::IsEmpty());
      EXPECT_THAT(changes_in(5), testing::ElementsAre(-1)) << "more than half has changed";
      std::filesystem::remove_all(checkpoint_in(place, 0));  // no checkpoint needs another
      for (const int64_t i : {1, 2, 3, 4, 5})
        for (const char* other : {"replicated", "row_sharded"})
          run_ranks(2, [&](Communicator& comm) {
            ItemTableOptions read = table_;
            read.placement = enum_value<ItemPlacement>(other);
            const auto table = make_table(read, /*seed=*/8, comm);
            const std::string from = checkpoint_in(place, i);
            if (comm.rank() == 0) check_item_table(from, *table);
            load_item_table(comm.rank() == 0 ? from : "", *table, comm);
            for (const auto& [name, column] : whole_item_table(*table, comm))
              EXPECT_TRUE(torch::equal(column, expected[static_cast<size_t>(i)].at(name)))
                  << name << " " << i;
          });
      const StoredItemTable stored(checkpoint_in(place, 2), table_, dataset_);
      EXPECT_EQ(stored.untrained_items(), 6);
      const torch::Tensor found = stored.rows(torch::arange(10));
      for (const int64_t item : {1, 2, 4, 9})
        EXPECT_TRUE(torch::equal(found[item], expected[2].at("rows")[item])) << item;
      const ItemTableSummary summary = summarise_item_table(checkpoint_in(place, 2), table_);
      EXPECT_EQ(summary.trained_rows, 4);
      EXPECT_EQ(summary.changed_rows, 3);
    }
}

// More than one slice of 16 MiB, of the whole table and of the rows that changed.
TEST_F(ItemTableFileTest, TablesOfSeveralSlicesAreReadAsTheyWere) {
  table_.dim = 4096;  // 1,024 rows in a slice
  table_.hash_buckets = 2500;
  std::vector<int64_t> some;
  for (int64_t row = 0; row < 1100; ++row) some.push_back(2 * row);
  const std::string place = directory_ / "slices";
  std::map<std::string, torch::Tensor> expected;
  run_ranks(3, [&](Communicator& comm) {
    const auto table = make_table(table_, /*seed=*/7, comm);
    ItemTableSaver saver(*table, vocabulary_of(dataset_), /*full_every=*/3, comm);
    train(*table, {1, 2400}, comm);
    static_cast<void>(save(saver, *table, place, 1, comm));
    train(*table, some, comm);
    const auto columns = save(saver, *table, place, 2, comm);
    if (comm.rank() == 0) expected = columns;
  });
  ASSERT_TRUE(std::filesystem::exists(checkpoint_in(place, 2) + "/" + kItemTableChangesFile));
  run_ranks(2, [&](Communicator& comm) {
    const auto table = make_table(table_, /*seed=*/8, comm);
    load_item_table(comm.rank() == 0 ? checkpoint_in(place, 2) : "", *table, comm);
    for (const auto& [name, column] : whole_item_table(*table, comm))
      EXPECT_TRUE(torch::equal(column, expected.at(name))) << name;
  });
}

TEST_F(ItemTableFileTest, RowsThatTheTableDoesNotHaveAreRefused) {
  write(directory_ / "a", table_, 1);
  const std::string file = directory_ / "a/" + kItemTableChangesFile;
  const auto comm = make_single_communicator();
  const auto table = make_table(table_, 7, *comm);
  for (const int64_t row : {-1, 11, 1 << 30}) {
    std::filesystem::remove(file);
    write_safetensors(file, {{"row", torch::tensor({row}, torch::kInt64)},
                             {"rows", torch::zeros({1, kWidth})},
                             {"updates", torch::zeros({1}, torch::kInt32)},
                             {"adagrad", torch::zeros({1})}});
    const auto refused = HasSubstr("rows that the table does not have: expected rows from 0 to 10");
    EXPECT_THAT(message_of<CheckpointError>([&] { check_item_table(directory_ / "a", *table); }),
                refused);
    EXPECT_THAT(
        message_of<CheckpointError>([&] { StoredItemTable(directory_ / "a", table_, dataset_); }),
        refused);
  }
}

TEST_F(ItemTableFileTest, ChangesOfAnotherShapeAreRefused) {
  write(directory_ / "a", table_, 1);
  const std::string file = directory_ / "a/" + kItemTableChangesFile;
  const auto refuse = [&](const torch::Tensor& rows, const torch::Tensor& updates) {
    std::filesystem::remove(file);
    write_safetensors(
        file, {{"row", torch::tensor({3}, torch::kInt64)}, {"rows", rows}, {"updates", updates}});
    EXPECT_THROW(StoredItemTable(directory_ / "a", table_, dataset_), CheckpointError);
  };
  refuse(torch::zeros({2, kWidth}), torch::zeros({1}, torch::kInt32));
  refuse(torch::zeros({1, kWidth + 1}), torch::zeros({1}, torch::kInt32));
  refuse(torch::zeros({1, kWidth}), torch::zeros({2}, torch::kInt32));
  refuse(torch::zeros({1, kWidth}), torch::zeros({1}));
  std::filesystem::remove(file);
  ItemTableOptions wider = table_;
  wider.dim = kWidth + 1;
  EXPECT_THAT(
      message_of<CheckpointError>([&] { StoredItemTable(directory_ / "a", wider, dataset_); }),
      HasSubstr("rows of width 4"));
}

TEST_F(ItemTableFileTest, WithoutTheLastCheckpointTheNextIsWhole) {
  const auto comm = make_single_communicator();
  const auto table = make_table(table_, 7, *comm);
  ItemTableSaver saver(*table, vocabulary_of(dataset_), /*full_every=*/9, *comm);
  const std::string place = directory_ / "a";
  static_cast<void>(save(saver, *table, place, 1, *comm));
  std::filesystem::remove_all(checkpoint_in(place, 1));
  train(*table, {1}, *comm);
  const auto expected = save(saver, *table, place, 2, *comm);
  const std::string next = checkpoint_in(place, 2) + "/";
  EXPECT_FALSE(std::filesystem::exists(next + kItemTableChangesFile));
  EXPECT_TRUE(
      torch::equal(read_safetensors(next + kItemTableFile).at("rows"), expected.at("rows")));
}

TEST_F(ItemTableFileTest, SummaryCountsTrainedRowsAndTheirNorms) {
  const torch::Tensor rows = write(directory_ / "a", table_, 3).at("rows");
  const ItemTableSummary summary = summarise_item_table(directory_ / "a", table_);
  EXPECT_EQ(summary.items, 10);
  EXPECT_EQ(summary.rows, 10);
  EXPECT_EQ(summary.width, kWidth);
  EXPECT_EQ(summary.trained_rows, 3);
  EXPECT_EQ(summary.collisions, 0);
  const torch::Tensor norms = rows.narrow(0, 1, 3).norm(2, 1);
  EXPECT_NEAR(summary.mean_norm, norms.mean().item<double>(), 1e-6);
  EXPECT_NEAR(summary.largest_norm, norms.max().item<double>(), 1e-6);
  EXPECT_NEAR(summary.unknown_norm, rows[10].norm().item<double>(), 1e-6);
}

TEST_F(ItemTableFileTest, DamagedFileIsACheckpointError) {
  write(directory_ / "a", table_, 1);
  const std::string file = directory_ / "a/" + kItemTableFile;
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  EXPECT_THROW(StoredItemTable(directory_ / "a", table_, dataset_), CheckpointError);
  std::filesystem::remove(file);
  EXPECT_THROW(StoredItemTable(directory_ / "a", table_, dataset_), CheckpointError);
}

}  // namespace
}  // namespace pinnerformer
