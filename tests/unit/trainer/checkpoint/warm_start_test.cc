// What a new training takes over: trained rows by item or bucket on any ranks, embeddings by name.
#include "trainer/checkpoint/warm_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <optional>

#include "comm/thread_communicator.h"
#include "dataloader/dataset/dataset_writer.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "tests/support/rank_threads.h"
#include "tests/support/whole_item_table.h"
#include "trainer/checkpoint/item_table_file.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

constexpr int64_t kRowWidth = 4;

// A user who has saved items with these ids, which are ascending: they become rows in this order.
Dataset dataset_of(const std::string& directory, const std::vector<int64_t>& ids) {
  DatasetWriterOptions options;
  options.directory = directory;
  options.actions = {"save"};
  options.surfaces = {"home"};
  ItemColumns items;
  Timeline events;
  for (const int64_t id : ids) {
    events.item.push_back(static_cast<int32_t>(items.ids.size()));
    items.ids.push_back(id);
    events.action.push_back(0);
    events.surface.push_back(0);
    events.time.push_back(1'600'000'000 + events.size());
    events.duration.push_back(0);
  }
  DatasetWriter writer(options, items);
  writer.add_user(1, events);
  writer.finish();
  return Dataset::open(directory);
}

class WarmStartTest : public testing::Test {
 protected:
  WarmStartTest()
      : old_(dataset_of(directory_ / "old", {10, 20, 30, 40})),
        new_(dataset_of(directory_ / "new", {15, 20, 25, 30, 40, 50})) {
    options_.placement = ItemPlacement::kReplicated;
    options_.dim = kRowWidth;
  }

  [[nodiscard]] std::unique_ptr<ItemTable> make_table(const Dataset& dataset, int64_t seed,
                                                      Communicator& comm) const {
    return std::make_unique<ItemTable>(options_, optimizer_, ItemRows(options_, dataset).count(),
                                       seed, Ranks{&comm, &comm});
  }

  // Trains these rows of a table of the old dataset, writes it, and returns its rows.
  torch::Tensor write_trained(const std::vector<int64_t>& rows) {
    const auto comm = make_single_communicator();
    const auto table = make_table(old_, /*seed=*/7, *comm);
    for (int step = 0; step < 3; ++step) {
      table->request(torch::tensor(rows, torch::kInt64));
      table->return_gradients(torch::full_like(table->receive(), 0.5));
      table->update(0.1);
    }
    for (const auto& [name, write] : item_table_writers(*table, vocabulary_of(old_), *comm))
      static_cast<void>(write(directory_ / name));
    return whole_item_table(*table, *comm).at("rows");
  }

  struct Result {
    std::map<std::string, torch::Tensor> before, after;
    int64_t taken = 0;
  };
  // A table of the new dataset before and after it took the rows over.
  Result start(int ranks) {
    Result result;
    run_ranks(ranks, [&](Communicator& comm) {
      const auto table = make_table(new_, /*seed=*/8, comm);
      const auto before = whole_item_table(*table, comm);
      std::optional<StoredItemTable> stored;
      if (comm.rank() == 0) stored.emplace(directory_.path(), options_, new_);
      const int64_t taken = warm_start_rows(stored ? &*stored : nullptr, *table, comm);
      const auto after = whole_item_table(*table, comm);
      if (comm.rank() == 0) result = {before, after, taken};
    });
    return result;
  }

  TemporaryDirectory directory_;
  Dataset old_, new_;
  ItemTableOptions options_;
  OptimizerOptions optimizer_;
};

TEST_F(WarmStartTest, TrainedRowsGoByItemAndTheOthersStayAsTheyWereDrawn) {
  const torch::Tensor trained = write_trained({1, 2, 4});  // items 20 and 30, the unknown row
  // By row of the new table, the old row of its item, -1 where there is none or it was not trained.
  const std::vector<int64_t> source = {-1, 1, -1, 2, -1, -1, 4};
  for (const auto placement : {ItemPlacement::kReplicated, ItemPlacement::kRowSharded})
    for (const int ranks : {1, 2, 5}) {
      options_.placement = placement;
      const Result found = start(ranks);
      EXPECT_EQ(found.taken, 2);
      for (int64_t row = 0; row < std::ssize(source); ++row) {
        const int64_t from = source[static_cast<size_t>(row)];
        const torch::Tensor expected = from < 0 ? found.before.at("rows")[row] : trained[from];
        EXPECT_TRUE(torch::equal(found.after.at("rows")[row], expected)) << row;
        EXPECT_EQ(found.after.at("updates")[row].item<int32_t>(), from < 0 ? 0 : 1) << row;
      }
      EXPECT_EQ(found.after.at("adagrad").abs().sum().item<float>(), 0) << "fresh";
    }
}

TEST_F(WarmStartTest, HashedRowsGoByBucket) {
  options_.hash_buckets = 3;
  const torch::Tensor trained = write_trained({0, 2});
  const Result found = start(2);
  EXPECT_EQ(found.taken, 2);
  for (const int64_t row : {0, 2})
    EXPECT_TRUE(torch::equal(found.after.at("rows")[row], trained[row])) << row;
  for (const int64_t row : {1, 3})
    EXPECT_TRUE(torch::equal(found.after.at("rows")[row], found.before.at("rows")[row])) << row;
}

TEST_F(WarmStartTest, EmbeddingsGoByName) {
  DataContract contract{{"never", "save"}, old_.surfaces(), 0, {}, {}};
  ASSERT_THAT(new_.actions(), testing::Contains("save"));
  Checkpoint source;
  source.model = {{"action.weight", torch::tensor({{1.0F, 2.0F}, {3.0F, 4.0F}})},
                  {"w", torch::ones({2})}};
  const std::map<std::string, torch::Tensor> fresh = {
      {"action.weight", torch::full({std::ssize(new_.actions()), 2}, 9.0F)},
      {"w", torch::zeros({2})}};
  const auto weights = warm_start_weights(source, contract, new_, fresh, "the checkpoint");
  for (size_t i = 0; i < new_.actions().size(); ++i) {
    const bool known = new_.actions()[i] == "save";
    EXPECT_EQ(weights.at("action.weight")[static_cast<int64_t>(i)][0].item<float>(), known ? 3 : 9);
  }
  EXPECT_TRUE(torch::equal(weights.at("w"), torch::ones({2})));

  contract.actions.emplace_back("one more");
  EXPECT_THAT(
      message_of<CheckpointError>([&] {
        static_cast<void>(warm_start_weights(source, contract, new_, fresh, "the checkpoint"));
      }),
      HasSubstr("action.weight"));
}

TEST_F(WarmStartTest, WithoutTheDataContractNothingIsTaken) {
  EXPECT_THAT(message_of<CheckpointError>(
                  [&] { static_cast<void>(warm_start_contract({}, "a/step-1", new_)); }),
              HasSubstr("a/step-1 has no data.json"));
}

}  // namespace
}  // namespace pinnerformer
