// The loader: which users a step holds never depends on the number of ranks or on restarts.
#include "dataloader/sampling/data_loader.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/hdf5/h5_file.h"
#include "dataloader/sampling/epoch_plan.h"
#include "dataloader/sampling/split.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

constexpr int64_t kUsers = 47;
constexpr int64_t kBatch = 10;  // the last batch of an epoch has 7

class DataLoaderTest : public testing::Test {
 protected:
  DataLoaderTest() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), kUsers))) {
    options_.block_users = 4;
    options_.shuffle_blocks = 3;
    options_.prefetch_batches = 2;
  }

  [[nodiscard]] LoaderSpec spec(int rank, int world) const {
    LoaderSpec spec;
    spec.window = {8, 14 * kDay, true};
    spec.part.train_until = dataset_.last_time();
    spec.global_batch_users = kBatch;
    spec.seed = 5;
    spec.rank = rank;
    spec.world = world;
    return spec;
  }
  [[nodiscard]] std::unique_ptr<DataLoader> loader(const LoaderSpec& spec,
                                                   LoaderPosition start = {}) const {
    return std::make_unique<DataLoader>(dataset_, all_users(dataset_), saves_are_positive(dataset_),
                                        spec, options_, start);
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
  DataOptions options_;
};

// What a row is, apart from where it is padded to.
struct Row {
  int64_t user = 0, draw_key = 0;
  std::vector<int64_t> items, times;
  std::vector<int64_t> labels;
  bool operator==(const Row&) const = default;
};

std::vector<int64_t> valid(const torch::Tensor& column, int64_t row, int64_t length) {
  const auto* begin = column.data_ptr<int64_t>() + row * column.size(1);
  return {begin, begin + length};
}

bool is_placeholder(const TrainingBatch& batch) {
  return batch.inputs.users() == 1 && batch.labels[0].empty();
}

// Rows by their place in the global batch.
std::map<int64_t, Row> rows_of(const TrainingBatch& batch, int64_t first_slot) {
  std::map<int64_t, Row> rows;
  if (is_placeholder(batch)) return rows;
  for (size_t b = 0; b < batch.user.size(); ++b) {
    const auto i = static_cast<int64_t>(b);
    const int64_t length = batch.inputs.length[i].item<int64_t>();
    Row row{batch.user[b],
            batch.inputs.draw_key[i].item<int64_t>(),
            valid(batch.inputs.item, i, length),
            valid(batch.inputs.time, i, length),
            {}};
    for (const Label& label : batch.labels[b]) {
      row.labels.push_back(label.item);
      row.labels.push_back(label.event);
    }
    EXPECT_TRUE(rows.emplace(first_slot + batch.slot[b], std::move(row)).second);
  }
  return rows;
}

TEST_F(DataLoaderTest, StepsHoldTheSameUsersWhateverTheNumberOfRanks) {
  std::vector<std::map<int64_t, Row>> expected;
  for (int world = 1; world <= 4; ++world) {
    std::vector<std::unique_ptr<DataLoader>> ranks;
    for (int rank = 0; rank < world; ++rank) ranks.push_back(loader(spec(rank, world)));
    for (size_t step = 0; step < 13; ++step) {
      std::map<int64_t, Row> rows;
      int64_t first_slot = 0, global_slots = 0;
      for (auto& rank : ranks) {
        const TrainingBatch batch = rank->next();
        rows.merge(rows_of(batch, first_slot));
        first_slot += batch.slots;
        global_slots = batch.global_slots;
        EXPECT_EQ(rank->position().consumed, ranks[0]->position().consumed);
        EXPECT_EQ(rank->position().epoch, ranks[0]->position().epoch);
      }
      EXPECT_EQ(first_slot, global_slots) << "slices do not add up";
      if (world == 1) {
        expected.push_back(rows);
      } else {
        EXPECT_EQ(rows, expected[step]) << "step " << step << " on " << world << " ranks";
      }
    }
  }
}

// 200 steps on 4, then 2, 3 and 1 ranks, each going on where the ranks before stood.
TEST_F(DataLoaderTest, ResumedOnOtherNumbersOfRanksSamplesAreTheSame) {
  const auto one = loader(spec(0, 1));
  LoaderPosition position;
  for (const int world : {4, 2, 3, 1}) {
    std::vector<std::unique_ptr<DataLoader>> ranks;
    for (int rank = 0; rank < world; ++rank) ranks.push_back(loader(spec(rank, world), position));
    for (int step = 0; step < 50; ++step) {
      std::map<int64_t, Row> rows;
      int64_t first_slot = 0;
      for (auto& rank : ranks) {
        const TrainingBatch batch = rank->next();
        rows.merge(rows_of(batch, first_slot));
        first_slot += batch.slots;
      }
      ASSERT_EQ(rows, rows_of(one->next(), 0)) << "step " << step << " on " << world << " ranks";
    }
    position = ranks[0]->position();
  }
  EXPECT_GT(position.epoch, 30);
}

TEST_F(DataLoaderTest, EveryUserComesOncePerEpochAndTheLastBatchIsSmaller) {
  const auto one = loader(spec(0, 1));
  std::set<int64_t> with_sample;
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> users;
    int64_t slots = 0;
    for (int64_t step = 0; step < 5; ++step) {
      EXPECT_EQ(one->position().epoch, epoch);
      const TrainingBatch batch = one->next();
      EXPECT_EQ(batch.global_slots, step == 4 ? 7 : kBatch);
      EXPECT_EQ(batch.slots, batch.global_slots);
      slots += batch.slots;
      for (const auto& [slot, row] : rows_of(batch, 0)) users.push_back(row.user);
    }
    EXPECT_EQ(slots, kUsers);
    const std::set<int64_t> unique_users(users.begin(), users.end());
    EXPECT_EQ(unique_users.size(), users.size()) << "a user came twice";
    if (epoch == 0) with_sample = unique_users;
    EXPECT_EQ(unique_users, with_sample);
    EXPECT_GT(unique_users.size(), 25U);
    EXPECT_LT(unique_users.size(), static_cast<size_t>(kUsers)) << "some users offer no sample";
    orders.push_back(users);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST_F(DataLoaderTest, WindowsDifferBetweenEpochs) {
  const auto one = loader(spec(0, 1));
  std::map<int64_t, std::set<int64_t>> keys, lengths;
  for (int64_t step = 0; step < 40; ++step)
    for (const auto& [slot, row] : rows_of(one->next(), 0)) {
      keys[row.user].insert(row.draw_key);
      lengths[row.user].insert(row.times.back());
    }
  size_t several = 0;
  for (const auto& [user, set] : keys) {
    EXPECT_EQ(set.size(), 8U) << "user " << user << " repeats its draws";
    several += lengths[user].size() > 1 ? 1U : 0U;
  }
  EXPECT_GT(several, 10U);
}

TEST_F(DataLoaderTest, GoesOnFromAnyPositionAsIfNeverStopped) {
  const auto whole = loader(spec(1, 3));
  std::vector<TrainingBatch> batches;
  std::vector<LoaderPosition> positions{whole->position()};
  for (int64_t step = 0; step < 12; ++step) {
    batches.push_back(whole->next());
    positions.push_back(whole->position());
  }
  for (size_t stop = 0; stop < 12; ++stop) {
    const auto resumed = loader(spec(1, 3), positions[stop]);
    EXPECT_EQ(resumed->position().consumed, positions[stop].consumed);
    for (size_t step = stop; step < std::min<size_t>(stop + 3, 12); ++step) {
      const TrainingBatch batch = resumed->next();
      EXPECT_EQ(rows_of(batch, 0), rows_of(batches[step], 0)) << "from " << stop;
      EXPECT_EQ(batch.global_slots, batches[step].global_slots);
    }
  }
}

// Neither the order nor the grouping by length changes what is drawn for a user.
TEST_F(DataLoaderTest, EveryUserOfferingASampleGivesExactlyTheOneOfItsKey) {
  const LoaderSpec one_rank = spec(0, 1);
  const auto one = loader(one_rank);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::map<int64_t, Row> found;
    for (int64_t step = 0; step < 5; ++step)
      for (auto& [slot, row] : rows_of(one->next(), 0)) found[row.user] = row;
    for (int64_t user = 0; user < kUsers; ++user) {
      const Timeline timeline = dataset_.timeline(user);
      KeyedRandom random(RandomStream::kWindow, {one_rank.seed, epoch, user});
      const auto window =
          draw_window(timeline, saves_are_positive(dataset_)(timeline), one_rank.window, random);
      ASSERT_EQ(window.has_value(), found.contains(user)) << "user " << user;
      if (!window) continue;
      Row expected{user, static_cast<int64_t>(random.next()), {}, {}, {}};
      expected.items.assign(timeline.item.begin() + window->first,
                            timeline.item.begin() + window->end);
      expected.times.assign(timeline.time.begin() + window->first,
                            timeline.time.begin() + window->end);
      for (const Label& label : window->labels) {
        expected.labels.push_back(label.item);
        expected.labels.push_back(label.event);
      }
      EXPECT_EQ(found[user], expected);
    }
  }
}

TEST_F(DataLoaderTest, RowsAreTheEventsOfTheUser) {
  const auto one = loader(spec(0, 1));
  for (int64_t step = 0; step < 5; ++step) {
    const TrainingBatch batch = one->next();
    for (const auto& [slot, row] : rows_of(batch, 0)) {
      const Timeline timeline = dataset_.timeline(row.user);
      const auto size = std::ssize(row.times);
      EXPECT_LE(size, 8);
      bool found = false;
      for (int64_t first = 0; first + size <= timeline.size() && !found; ++first)
        found = std::equal(row.times.begin(), row.times.end(), timeline.time.begin() + first) &&
                std::equal(row.items.begin(), row.items.end(), timeline.item.begin() + first);
      EXPECT_TRUE(found) << "user " << row.user;
      EXPECT_FALSE(row.labels.empty());
    }
  }
}

TEST_F(DataLoaderTest, NothingAfterTheEndOfTrainingIsSeen) {
  LoaderSpec early = spec(0, 1);
  early.part.train_until = dataset_.first_time() + 12 * kDay;
  const auto one = loader(early);
  int64_t rows = 0;
  for (int64_t step = 0; step < 10; ++step) {
    const TrainingBatch batch = one->next();
    for (const auto& labels : batch.labels)
      for (const Label& label : labels) EXPECT_LE(label.time, early.part.train_until);
    EXPECT_LE(batch.inputs.time.max().item<int64_t>(), early.part.train_until);
    rows += is_placeholder(batch) ? 0 : batch.inputs.users();
  }
  EXPECT_GT(rows, 10);
}

TEST_F(DataLoaderTest, RankWithoutASampleGetsOneRowWithoutLabels) {
  LoaderSpec crowded = spec(0, 4);
  crowded.global_batch_users = 1;  // the one user of a step is the last rank's
  const auto nobody = loader(crowded);
  for (int64_t step = 0; step < 5; ++step) {
    const TrainingBatch batch = nobody->next();
    EXPECT_EQ(batch.slots, 0);
    EXPECT_EQ(batch.global_slots, 1);
    ASSERT_EQ(batch.inputs.users(), 1);
    EXPECT_EQ(batch.inputs.length[0].item<int64_t>(), 1);
    ASSERT_EQ(batch.labels.size(), 1U);
    EXPECT_TRUE(batch.labels[0].empty());
  }
  // Users without any positive: every rank has slots and no sample.
  const auto hopeless = std::make_unique<DataLoader>(
      dataset_, all_users(dataset_),
      [](const Timeline& t) { return std::vector<uint8_t>(static_cast<size_t>(t.size()), 0); },
      spec(0, 2), options_, LoaderPosition{});
  const TrainingBatch batch = hopeless->next();
  EXPECT_EQ(batch.slots, 5);
  EXPECT_TRUE(is_placeholder(batch));
}

TEST_F(DataLoaderTest, FailureComesWithABatchAndThenAsAnException) {
  std::vector<int64_t> users;  // by step; the loader is a buffer ahead of what it delivers
  const auto whole = loader(spec(0, 1));
  for (int64_t step = 0; step < 5; ++step)
    for (const int64_t user : whole->next().user) users.push_back(user);
  const int64_t bad = users.back();
  DataLoader broken(dataset_, all_users(dataset_),
                    [&](const Timeline& timeline) {
                      if (timeline.user == bad) throw DataError("this row is bad");
                      return saves_are_positive(dataset_)(timeline);
                    },
                    spec(0, 1), options_, {});
  TrainingBatch batch = broken.next();
  LoaderPosition before;
  int64_t step = 1;
  for (; !batch.failure && step < 5; ++step) {
    before = broken.position();
    batch = broken.next();
  }
  ASSERT_TRUE(batch.failure);
  EXPECT_GT(step, 2);
  EXPECT_LE(step, 4) << "the last buffer is bad, and its batch is the fifth";
  EXPECT_EQ(batch.global_slots, kBatch);
  EXPECT_TRUE(is_placeholder(batch));
  EXPECT_EQ(broken.position().consumed, before.consumed) << "the position names what was delivered";
  EXPECT_THROW(std::rethrow_exception(batch.failure), DataError);
  EXPECT_THROW(broken.next(), DataError);
  EXPECT_THROW(broken.next(), DataError);
}

TEST_F(DataLoaderTest, SkippedBlocksAreCountedAndTheRestIsAsBefore) {
  const auto whole = loader(spec(0, 1));
  options_.on_bad_block = OnBadBlock::kSkip;
  constexpr int64_t kBad = 21;
  DataLoader skipping(dataset_, all_users(dataset_),
                      [&](const Timeline& timeline) {
                        if (timeline.user == kBad) throw DataError("row 21 is bad");
                        return saves_are_positive(dataset_)(timeline);
                      },
                      spec(0, 1), options_, {});
  std::set<int64_t> expected, found;
  std::map<int64_t, int64_t> keys;
  int64_t skipped = 0;
  std::string reason;
  for (int64_t step = 0; step < 5; ++step) {
    for (const auto& [slot, row] : rows_of(whole->next(), 0)) {
      keys[row.user] = row.draw_key;
      if (row.user / 4 != kBad / 4) expected.insert(row.user);
    }
    const TrainingBatch batch = skipping.next();
    EXPECT_EQ(batch.global_slots, step == 4 ? 7 : kBatch) << "slots do not depend on what is bad";
    for (const auto& [slot, row] : rows_of(batch, 0)) {
      EXPECT_TRUE(found.insert(row.user).second);
      EXPECT_EQ(row.draw_key, keys.contains(row.user) ? keys[row.user] : row.draw_key);
    }
    skipped += batch.skipped_users;
    if (batch.skipped_users > 0) reason = batch.skipped_because;
  }
  EXPECT_EQ(found, expected);
  EXPECT_GE(skipped, 4) << "the block of user 21; the next epoch's may have been met too";
  EXPECT_EQ(skipped % 4, 0);
  EXPECT_EQ(reason, "row 21 is bad");
}

TEST_F(DataLoaderTest, EndsWhileItsThreadWaits) {
  for (int i = 0; i < 20; ++i) {
    const auto one = loader(spec(0, 1));
    if (i % 2 == 0) static_cast<void>(one->next());
  }
}

TEST_F(DataLoaderTest, NoUsersIsAnError) {
  EXPECT_THROW(DataLoader(dataset_, {}, saves_are_positive(dataset_), spec(0, 1), options_, {}),
               c10::Error);
}

TEST_F(DataLoaderTest, PositionOfAnotherBatchSizeIsRefused) {
  const auto other = loader(spec(0, 1), {0, 15});
  EXPECT_THROW(other->next(), DataError);
}

TEST_F(DataLoaderTest, TrainingUsersAreNotHeldOutAndHaveTwoEvents) {
  SplitOptions split;
  split.users_percent = 30;
  const auto set = training_users(dataset_, split);
  const std::vector<int64_t> users = set.slice(0, set.size());
  const std::set<int64_t> kept(users.begin(), users.end());
  EXPECT_GT(kept.size(), 10U);
  for (int64_t user = 0; user < dataset_.users(); ++user)
    EXPECT_EQ(kept.contains(user), dataset_.timeline(user).size() >= 2 &&
                                       !is_evaluation_user(dataset_.user_hash(user), split));
}

// Two thousand users with timelines of 2 to 40 events, all positive, and batches of 64 in four
// lanes.
class DataLoaderLengths : public testing::Test {
 protected:
  static constexpr int64_t kManyUsers = 2200, kLongBatch = 64;

  DataLoaderLengths() : dataset_(Dataset::open(write(directory_.path()))) {}

  static std::string write(const std::string& directory, int64_t part_events = 1 << 20) {
    std::vector<EventRow> rows;
    for (int64_t user = 0; user < kManyUsers; ++user)
      for (int64_t i = 0; i < 2 + user % 39; ++i)
        rows.push_back({user, i % 7, "save", "home", 1000 * i + user});
    return write_dataset(directory, rows, {}, part_events);
  }

  [[nodiscard]] std::unique_ptr<DataLoader> loader(int rank, int world) const {
    LoaderSpec spec;
    spec.window = {32, 14 * kDay, false};
    spec.part.train_until = dataset_.last_time();
    spec.global_batch_users = kLongBatch;
    spec.seed = 3;
    spec.rank = rank;
    spec.world = world;
    DataOptions options;
    options.block_users = 64;
    return std::make_unique<DataLoader>(dataset_, all_users(dataset_), saves_are_positive(dataset_),
                                        spec, options, LoaderPosition{});
  }

  // Batches of the first epoch, by step and rank.
  [[nodiscard]] std::vector<std::vector<TrainingBatch>> epoch(int world) const {
    std::vector<std::vector<TrainingBatch>> steps;
    std::vector<std::unique_ptr<DataLoader>> ranks;
    for (int rank = 0; rank < world; ++rank) ranks.push_back(loader(rank, world));
    for (int64_t users = 0; users < kManyUsers; users += steps.back()[0].global_slots) {
      steps.emplace_back();
      for (auto& rank : ranks) steps.back().push_back(rank->next());
    }
    return steps;
  }

  static int64_t tokens(const TrainingBatch& batch) {
    return batch.inputs.length.sum().item<int64_t>();
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
};

TEST_F(DataLoaderLengths, StepsHoldTheSameUsersOnAnyNumberOfRanks) {
  const auto expected = epoch(1);
  for (const int world : {2, 3, 5, 8}) {  // fewer and more ranks than lanes, and no divisors
    const auto steps = epoch(world);
    ASSERT_EQ(steps.size(), expected.size());
    for (size_t step = 0; step < steps.size(); ++step) {
      std::map<int64_t, Row> rows;
      int64_t first_slot = 0;
      for (const TrainingBatch& batch : steps[step]) {
        rows.merge(rows_of(batch, first_slot));
        first_slot += batch.slots;
      }
      EXPECT_EQ(rows, rows_of(expected[step][0], 0)) << "step " << step << " of " << world;
    }
  }
}

TEST_F(DataLoaderLengths, BatchesOfManyUsersFilesAreThoseOfOne) {
  const auto expected = epoch(2);
  const TemporaryDirectory parts;
  dataset_ = Dataset::open(write(parts.path(), /*part_events=*/700));  // borders within blocks
  ASSERT_EQ(dataset_.place_of(0).find("-of-00001"), std::string::npos) << "one file";
  const auto steps = epoch(2);
  ASSERT_EQ(steps.size(), expected.size());
  for (size_t step = 0; step < steps.size(); ++step)
    for (size_t rank = 0; rank < 2; ++rank)
      EXPECT_EQ(rows_of(steps[step][rank], 0), rows_of(expected[step][rank], 0)) << step;
}

TEST_F(DataLoaderLengths, PaddingWastesLittleAndRanksGetEqualWork) {
  for (const int world : {1, 2, 4}) {
    double used = 0, padded = 0, largest = 0;
    for (const auto& step : epoch(world)) {
      if (step[0].global_slots < kLongBatch) continue;  // the last buffer is short: little to sort
      int64_t most = 0;
      for (const TrainingBatch& batch : step) {
        used += static_cast<double>(tokens(batch));
        padded += static_cast<double>(batch.inputs.item.numel());
        most = std::max(most, tokens(batch));
      }
      largest += static_cast<double>(most) * world;
    }
    EXPECT_LE((padded - used) / padded, 0.10) << world << " ranks";
    EXPECT_LE(largest / used, 1.05) << world << " ranks";
  }
}

// Long and short batches come in random order: no part of an epoch sees short histories only.
TEST_F(DataLoaderLengths, TurnsOfShortAndLongBatchesAreRandom) {
  const auto one = loader(0, 1);
  std::vector<double> mean(35);  // of a batch's lengths, by its turn; 32 in a buffer and 3 more
  constexpr int64_t kEpochs = 60;
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch)
    for (double& length : mean) {
      ASSERT_EQ(one->position().epoch, epoch);
      const TrainingBatch batch = one->next();
      length +=
          static_cast<double>(tokens(batch)) / static_cast<double>(batch.inputs.users()) / kEpochs;
    }
  const double all = std::accumulate(mean.begin(), mean.end(), 0.0) / 35;
  for (const double length : mean) EXPECT_NEAR(length, all, 3.5);
}

}  // namespace
}  // namespace pinnerformer
