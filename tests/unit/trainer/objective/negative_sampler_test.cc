// The pool of negatives: the same on every rank and for every number of ranks, with the log Q of
// exact counts and the right columns masked.
#include "trainer/objective/negative_sampler.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include "comm/thread_communicator.h"
#include "dataloader/base/random.h"
#include "dataloader/base/slice.h"
#include "tests/support/rank_threads.h"
#include "tests/support/training_rows.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

constexpr int64_t kItems = 50;

NegativeOptions sampler_options(int64_t in_batch, int64_t random) {
  NegativeOptions options;
  options.in_batch = in_batch;
  options.random = random;
  return options;
}

std::unique_ptr<Communicator> alone() { return make_single_communicator(); }

// A rank's share of a global batch of `users` users: every fifth has no sample, user u has
// 1 + u mod 4 labels, each its own pair. The first label of a user with four is paired twice.
struct Share {
  TrainingBatch batch;
  std::vector<Pair> pairs;
  std::vector<std::vector<int64_t>> positives;  // by row
};
Share make_share(int64_t step, int64_t users, int rank, int world) {
  const Slice slice = rank_slice(users, rank, world);
  Share share;
  std::vector<TrainingRow> rows;
  std::vector<int64_t> slots;
  for (int64_t slot = 0; slot < slice.count; ++slot) {
    const int64_t user = 100 * (step % 3) + slice.first + slot;
    if (user % 5 == 4) continue;
    TrainingRow row{user, timeline_of({{0, 1, false}}), {0, 1, {}}, user};
    share.positives.emplace_back();
    for (int64_t i = 0; i <= user % 4; ++i) {
      row.window.labels.push_back({(user * 7 + i * i * 3) % kItems, 10 + i, 1 + i});
      share.pairs.push_back({std::ssize(rows), 0, row.window.labels.back().item,
                             1.0 / static_cast<double>(1 + user % 4)});
      share.positives.back().push_back(row.window.labels.back().item);
    }
    if (user % 4 == 3)
      share.pairs.push_back({std::ssize(rows), 0, row.window.labels[0].item, 0.25});
    rows.push_back(row);
    slots.push_back(slot);
  }
  if (rows.empty()) {  // the loader's placeholder
    rows.push_back({0, timeline_of({{0, 0, false}}), {0, 1, {}}, 0});
    slots.push_back(0);
    share.positives.emplace_back();
  }
  share.batch = training_batch(rows);
  share.batch.slot = slots;
  share.batch.slots = slice.count;
  share.batch.global_slots = users;
  return share;
}

GlobalPositives gather(const Share& share, Communicator& comm) {
  return gather_positives(share.batch, share.pairs, share.positives, comm);
}

// Of a share that is the whole batch.
GlobalPositives gather(const Share& share) {
  GlobalPositives global;
  run_ranks(1, [&](Communicator& comm) { global = gather(share, comm); });
  return global;
}

struct Drawn {
  GlobalPositives global;                     // with the items of all ranks
  torch::Tensor item, log_q, positive_log_q;  // of all ranks' pairs, in rank order
};

// The last of `steps` draws of a world, checked to be equal on all ranks.
Drawn draw_world(int world, int64_t users, const NegativeOptions& options, int64_t steps) {
  std::vector<Drawn> drawn(static_cast<size_t>(world));
  run_ranks(world, [&](Communicator& comm) {
    NegativeSampler sampler(options, kItems, /*seed=*/3);
    Drawn& mine = drawn[static_cast<size_t>(comm.rank())];
    for (int64_t step = 0; step < steps; ++step) {
      const Share share = make_share(step, users, comm.rank(), world);
      mine.global = gather(share, comm);
      const NegativePool pool = sampler.draw(mine.global, share.pairs, step, comm);
      mine.item = pool.item;
      mine.log_q = pool.log_q;
      mine.positive_log_q = pool.positive_log_q;
    }
  });
  std::vector<torch::Tensor> positives;
  std::vector<int64_t> items;
  for (const Drawn& other : drawn) {
    items.insert(items.end(), other.global.item.begin(), other.global.item.end());
    EXPECT_TRUE(torch::equal(other.item, drawn[0].item)) << "ranks drew different pools";
    EXPECT_TRUE(torch::equal(other.log_q, drawn[0].log_q));
    EXPECT_EQ(other.global.pairs, drawn[0].global.pairs);
    EXPECT_EQ(other.global.of_rank, drawn[0].global.of_rank);
    EXPECT_EQ(other.global.users_with_pairs, drawn[0].global.users_with_pairs);
    positives.push_back(other.positive_log_q);
  }
  drawn[0].positive_log_q = torch::cat(positives);
  drawn[0].global.item = items;
  return drawn[0];
}

// Of a batch without a positive: the softmax needs a column, whatever the options say.
TEST(NegativeSampler, AStepWithoutPositivesHasOneRandomItem) {
  NegativeSampler sampler(sampler_options(20, 0), kItems, /*seed=*/3);
  const NegativePool pool = sampler.draw(GlobalPositives{}, {}, /*step=*/0, *alone());
  EXPECT_EQ(pool.in_batch, 0);
  ASSERT_EQ(pool.item.numel(), 1);
  EXPECT_NEAR(pool.log_q.item<float>(), -std::log(static_cast<float>(kItems)), 1e-5);
}

TEST(NegativeSampler, DoesNotDependOnTheNumberOfRanks) {
  for (const int64_t users : {1, 3, 5, 17, 40}) {
    const Drawn one = draw_world(1, users, sampler_options(20, 30), 4);
    for (const int world : {2, 3, 4, 7}) {
      SCOPED_TRACE(c10::str(users, " users on ", world, " ranks"));
      const Drawn many = draw_world(world, users, sampler_options(20, 30), 4);
      EXPECT_TRUE(torch::equal(many.item, one.item));
      EXPECT_TRUE(torch::equal(many.log_q, one.log_q));
      EXPECT_TRUE(torch::equal(many.positive_log_q, one.positive_log_q));
      EXPECT_EQ(many.global.pairs, one.global.pairs);
      EXPECT_EQ(many.global.item, one.global.item);
      EXPECT_EQ(many.global.users_with_pairs, one.global.users_with_pairs);
    }
  }
}

TEST(NegativeSampler, GathersThePositivesOfEveryUserInOrder) {
  const Drawn drawn = draw_world(3, 10, sampler_options(100, 0), 1);
  std::vector<int64_t> items;
  for (int64_t user = 0; user < 10; ++user)
    for (int64_t i = 0; user % 5 != 4 && i <= user % 4; ++i)
      items.push_back((user * 7 + i * i * 3) % kItems);
  EXPECT_EQ(drawn.global.pairs, std::ssize(items) + 2) << "users 3 and 7 have a pair more";
  EXPECT_EQ(drawn.global.item, items);
  EXPECT_EQ(drawn.global.users_with_pairs, 8);
  EXPECT_TRUE(torch::equal(drawn.item, torch::tensor(items, torch::kInt64)));
}

TEST(NegativeSampler, CapKeepsAUniformSubset) {
  const Share share = make_share(0, 40, 0, 1);
  const GlobalPositives all = gather(share);
  const auto total = std::ssize(all.item);
  NegativeSampler sampler(sampler_options(10, 0), kItems, 3);
  double columns_of_first_half = 0;
  constexpr int64_t kSteps = 600;
  const std::set<int64_t> known(all.item.begin(), all.item.end());
  const std::set<int64_t> front(all.item.begin(), all.item.begin() + total / 2);
  double front_pairs = 0;
  for (const int64_t item : all.item) front_pairs += front.contains(item) ? 1 : 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    const NegativePool pool = sampler.draw(all, share.pairs, step, *alone());
    ASSERT_EQ(pool.item.size(0), 10);
    for (int64_t j = 0; j < 10; ++j) {
      EXPECT_TRUE(known.contains(pool.item[j].item<int64_t>()));
      columns_of_first_half += front.contains(pool.item[j].item<int64_t>()) ? 1 : 0;
    }
  }
  EXPECT_NEAR(columns_of_first_half / (10.0 * kSteps), front_pairs / static_cast<double>(total),
              0.03);
}

// Few of many are drawn in another way than half of them.
TEST(NegativeSampler, AFewOfManyPositivesAreUniformAndDistinct) {
  constexpr int64_t kPositives = 40, kColumns = 2, kSteps = 8000;
  GlobalPositives global;
  for (int64_t i = 0; i < kPositives; ++i) global.item.push_back(i);
  NegativeSampler sampler(sampler_options(kColumns, 0), kItems, 3);
  std::vector<int64_t> drawn(kPositives);
  for (int64_t step = 0; step < kSteps; ++step) {
    const NegativePool pool = sampler.draw(global, {}, step, *alone());
    const auto* item = pool.item.const_data_ptr<int64_t>();
    ASSERT_LT(item[0], item[1]) << "ascending";
    for (int64_t j = 0; j < kColumns; ++j) ++drawn.at(static_cast<size_t>(item[j]));
  }
  // Six standard deviations of the binomial distribution.
  for (const int64_t count : drawn)
    EXPECT_NEAR(static_cast<double>(count), kColumns * kSteps / kPositives, 120);
}

// Ranks count their own users; a checkpoint holds the sum, with which other numbers of ranks go on.
TEST(NegativeSampler, StateOfSomeRanksGoesOnWithOthers) {
  constexpr int64_t kUsers = 17;
  std::map<std::string, torch::Tensor> saved;
  const auto draw_steps = [&](int world, int64_t first, int64_t end, bool save) {
    torch::Tensor log_q;
    run_ranks(world, [&](Communicator& comm) {
      NegativeSampler sampler(sampler_options(20, 30), kItems, /*seed=*/3);
      if (first > 0 && comm.rank() == 0) sampler.load_state(saved, "test");
      sampler.share_state(comm);
      for (int64_t step = first; step < end; ++step) {
        const Share share = make_share(step, kUsers, comm.rank(), world);
        const NegativePool pool = sampler.draw(gather(share, comm), share.pairs, step, comm);
        if (comm.rank() == 0) log_q = pool.log_q;
      }
      const auto state = sampler.gather_state(comm);
      EXPECT_EQ(state.size(), comm.rank() == 0 ? 1U : 0U);
      if (save && comm.rank() == 0) saved["positive_counts"] = state.at("positive_counts").clone();
    });
    return log_q;
  };
  const torch::Tensor whole = draw_steps(1, 0, 6, /*save=*/false);
  for (const auto& [before, after] : {std::pair{3, 2}, {1, 4}, {4, 1}}) {
    draw_steps(before, 0, 3, /*save=*/true);
    EXPECT_TRUE(torch::equal(draw_steps(after, 3, 6, /*save=*/false), whole)) << before << after;
  }
}

// The sum is made in pieces of 2^20 items.
TEST(NegativeSampler, StateOfManyItemsIsThatOfAllPieces) {
  constexpr int64_t kMany = (int64_t{1} << 20) + 10;
  const std::vector<std::vector<int64_t>> items = {{5, kMany - 1, kMany - 1}, {kMany - 1, 7}};
  run_ranks(2, [&](Communicator& comm) {
    NegativeSampler sampler(sampler_options(2, 3), kMany, /*seed=*/3);
    GlobalPositives global;
    global.item = items[static_cast<size_t>(comm.rank())];
    global.pairs = 5;
    global.users_with_pairs = 2;
    global.of_rank = {3, 2};
    static_cast<void>(sampler.draw(global, {}, /*step=*/0, comm));
    const auto state = sampler.gather_state(comm);
    if (comm.rank() != 0) return;
    torch::Tensor expected = torch::zeros({kMany}, torch::kInt32);
    expected[5] = 1;
    expected[7] = 1;
    expected[kMany - 1] = 3;
    EXPECT_TRUE(torch::equal(state.at("positive_counts"), expected));
  });
}

TEST(NegativeSampler, RandomPartIsUniformOverTheItems) {
  const Share share = make_share(0, 5, 0, 1);
  NegativeSampler sampler(sampler_options(0, 500), kItems, 3);
  std::vector<double> counts(kItems);
  for (int64_t step = 0; step < 40; ++step) {
    const NegativePool pool = sampler.draw({}, {}, step, *alone());
    ASSERT_EQ(pool.item.size(0), 500);
    for (int64_t j = 0; j < 500; ++j)
      ++counts.at(static_cast<size_t>(pool.item[j].item<int64_t>()));
  }
  for (const double count : counts) EXPECT_NEAR(count, 400, 120);
}

class NegativeSamplerLogQ : public testing::TestWithParam<LogQForm> {};

TEST_P(NegativeSamplerLogQ, IsTheExpectedNumberOfColumns) {
  NegativeOptions options = sampler_options(12, 25);
  options.logq_form = GetParam();
  const bool per_part = options.logq_form == LogQForm::kPerPart;
  NegativeSampler sampler(options, kItems, 3);
  std::map<int64_t, double> count;
  double total = 0;
  for (int64_t step = 0; step < 6; ++step) {
    const Share share = make_share(step, 20, 0, 1);
    const GlobalPositives global = gather(share);
    const NegativePool pool = sampler.draw(global, share.pairs, step, *alone());
    ASSERT_EQ(pool.item.size(0), 37);
    for (const int64_t item : global.item) {  // before the cap and before Q is read
      ++count[item];
      ++total;
    }
    for (int64_t j = 0; j < 37; ++j) {
      const double in_batch = 12 * count[pool.item[j].item<int64_t>()] / total;
      const double random = 25.0 / kItems;
      const double expected = !per_part ? in_batch + random : j < 12 ? in_batch : random;
      EXPECT_NEAR(pool.log_q[j].item<double>(), std::log(expected), 1e-5);
    }
    for (size_t i = 0; i < share.pairs.size(); ++i) {
      const auto same_row = [&](const Pair& p) { return p.row == share.pairs[i].row; };
      const auto same = [&](const Pair& p) { return same_row(p) && p.item == share.pairs[i].item; };
      const double share_of_row = static_cast<double>(std::ranges::count_if(share.pairs, same)) /
                                  static_cast<double>(std::ranges::count_if(share.pairs, same_row));
      EXPECT_NEAR(pool.positive_log_q[static_cast<int64_t>(i)].item<double>(),
                  options.logq_form == LogQForm::kCorrected ? 0 : std::log(share_of_row), 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, NegativeSamplerLogQ,
                         testing::Values(LogQForm::kPerPart, LogQForm::kMixture,
                                         LogQForm::kCorrected));

// The paper's batch, 32,768 pairs a step, among 10^8 items that follow Zipf's law: the counts
// are exact, those of rare items too.
TEST(NegativeSampler, CountsStayExactAtThePapersSize) {
  constexpr int64_t kMany = 100'000'000, kPairs = 32768, kSteps = 100;
  NegativeOptions options = sampler_options(5000, 8192);
  NegativeSampler sampler(options, kMany, 3);
  std::map<int64_t, int64_t> exact;
  KeyedRandom random(RandomStream::kSynth, {1});
  int64_t total = 0;
  NegativePool pool;
  for (int64_t step = 0; step < kSteps; ++step) {
    GlobalPositives global;
    for (int64_t i = 0; i < kPairs; ++i) {
      const double rank = std::pow(static_cast<double>(kMany), random.uniform());
      global.item.push_back(static_cast<int64_t>(rank) % kMany);
      ++exact[global.item.back()];
      ++total;
    }
    pool = sampler.draw(global, {}, step, *alone());
  }
  for (int64_t j = 0; j < pool.in_batch; ++j) {
    const double expected = 5000.0 * static_cast<double>(exact[pool.item[j].item<int64_t>()]) /
                            static_cast<double>(total);
    ASSERT_NEAR(pool.log_q[j].item<double>(), std::log(expected), 1e-5);
  }
  EXPECT_NEAR(pool.log_q[5000].item<double>(), std::log(8192.0 / kMany), 1e-5);
}

TEST(NegativeSampler, WithoutLogQEverythingIsZero) {
  NegativeOptions options = sampler_options(12, 25);
  options.logq = false;
  const Share share = make_share(0, 20, 0, 1);
  NegativeSampler sampler(options, kItems, 3);
  const NegativePool pool = sampler.draw({{3, 4}, 2, 2}, share.pairs, 0, *alone());
  EXPECT_EQ(pool.log_q.abs().max().item<float>(), 0);
  EXPECT_EQ(pool.positive_log_q.abs().max().item<float>(), 0);
}

TEST(NegativeSampler, StateGoesOnWhereItWasSaved) {
  const auto draw = [](NegativeSampler& sampler, int64_t step) {
    return sampler.draw({{3, 4, 5}, 3, 2}, {}, step, *alone());
  };
  NegativeSampler whole(sampler_options(12, 25), kItems, 3),
      before(sampler_options(12, 25), kItems, 3);
  for (int64_t step = 0; step < 3; ++step) {
    draw(whole, step);
    draw(before, step);
  }
  std::map<std::string, torch::Tensor> saved;
  for (const auto& [name, tensor] : before.gather_state(*alone())) saved[name] = tensor.clone();
  EXPECT_EQ(saved.size(), 1U);
  NegativeSampler after(sampler_options(12, 25), kItems, 3);
  after.load_state(saved, "test");
  const NegativePool expected = draw(whole, 3), found = draw(after, 3);
  EXPECT_TRUE(torch::equal(found.item, expected.item));
  EXPECT_TRUE(torch::equal(found.log_q, expected.log_q));
  EXPECT_THROW(after.load_state({}, "test"), CheckpointError);
  for (const auto& [name, tensor] : saved)
    for (const torch::Tensor& other :
         {torch::zeros({3, 8}, torch::kInt32), torch::zeros(tensor.sizes(), torch::kInt64),
          torch::full(tensor.sizes(), -1, torch::kInt32), torch::Tensor(torch::zeros({1}))}) {
      std::map<std::string, torch::Tensor> changed = saved;
      changed[name] = other;
      EXPECT_THROW(after.load_state(changed, "test"), CheckpointError) << name << other.sizes();
    }
}

TEST(NegativeSampler, MaskMarksExactlyTheLabelsOfTheUser) {
  const Share share = make_share(0, 30, 0, 1);
  // Every item twice, once before and once after the others.
  const torch::Tensor columns = torch::arange(kItems).repeat({2});
  const torch::Tensor mask = user_positives_mask(share.batch, columns);
  ASSERT_EQ(mask.sizes(), (std::vector<int64_t>{share.batch.inputs.users(), 2 * kItems}));
  for (size_t row = 0; row < share.batch.labels.size(); ++row) {
    std::set<int64_t> own;
    for (const Label& label : share.batch.labels[row]) own.insert(label.item);
    for (int64_t j = 0; j < 2 * kItems; ++j)
      EXPECT_EQ(mask[static_cast<int64_t>(row)][j].item<bool>(), own.contains(j % kItems))
          << "row " << row << ", column " << j;
  }
}

}  // namespace
}  // namespace pinnerformer
