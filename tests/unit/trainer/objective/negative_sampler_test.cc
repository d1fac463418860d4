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

#include "dataloader/base/slice.h"
#include "tests/support/rank_threads.h"
#include "tests/support/training_rows.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

constexpr int64_t kItems = 50;
constexpr int64_t kMaxPairs = 4;

NegativeOptions sampler_options(int64_t in_batch, int64_t random) {
  NegativeOptions options;
  options.in_batch = in_batch;
  options.random = random;
  options.sketch_width = 1 << 16;
  options.sketch_depth = 4;
  return options;
}

// A rank's share of a global batch of `users` users: every fifth has no sample, user u has
// 1 + u mod 4 labels, each its own pair.
struct Share {
  TrainingBatch batch;
  std::vector<Pair> pairs;
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
    for (int64_t i = 0; i <= user % 4; ++i) {
      row.window.labels.push_back({(user * 7 + i * i * 3) % kItems, 10 + i, 1 + i});
      share.pairs.push_back({std::ssize(rows), 0, row.window.labels.back().item,
                             1.0 / static_cast<double>(1 + user % 4)});
    }
    rows.push_back(row);
    slots.push_back(slot);
  }
  if (rows.empty()) {  // the loader's placeholder
    rows.push_back({0, timeline_of({{0, 0, false}}), {0, 1, {}}, 0});
    slots.push_back(0);
  }
  share.batch = training_batch(rows);
  share.batch.slot = slots;
  share.batch.slots = slice.count;
  share.batch.global_slots = users;
  return share;
}

struct Drawn {
  GlobalPairs global;
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
      mine.global = gather_pairs(share.batch, share.pairs, kMaxPairs, comm);
      const NegativePool pool = sampler.draw(mine.global, share.batch, share.pairs, step);
      mine.item = pool.item;
      mine.log_q = pool.log_q;
      mine.positive_log_q = pool.positive_log_q;
    }
  });
  std::vector<torch::Tensor> positives;
  for (const Drawn& other : drawn) {
    EXPECT_TRUE(torch::equal(other.item, drawn[0].item)) << "ranks drew different pools";
    EXPECT_TRUE(torch::equal(other.log_q, drawn[0].log_q));
    EXPECT_EQ(other.global.user, drawn[0].global.user);
    EXPECT_EQ(other.global.item, drawn[0].global.item);
    EXPECT_EQ(other.global.users_with_pairs, drawn[0].global.users_with_pairs);
    positives.push_back(other.positive_log_q);
  }
  drawn[0].positive_log_q = torch::cat(positives);
  return drawn[0];
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
      EXPECT_EQ(many.global.user, one.global.user);
      EXPECT_EQ(many.global.item, one.global.item);
      EXPECT_EQ(many.global.users_with_pairs, one.global.users_with_pairs);
    }
  }
}

TEST(NegativeSampler, GathersThePairsOfEveryUserInOrder) {
  const Drawn drawn = draw_world(3, 10, sampler_options(100, 0), 1);
  std::vector<int64_t> users;
  std::vector<int64_t> items;
  for (int64_t user = 0; user < 10; ++user)
    for (int64_t i = 0; user % 5 != 4 && i <= user % 4; ++i) {
      users.push_back(user);
      items.push_back((user * 7 + i * i * 3) % kItems);
    }
  EXPECT_EQ(drawn.global.user, users);
  EXPECT_EQ(drawn.global.item, items);
  EXPECT_EQ(drawn.global.users_with_pairs, 8);
  EXPECT_TRUE(torch::equal(drawn.item, torch::tensor(items, torch::kInt64)));
}

TEST(NegativeSampler, CapKeepsAUniformSubset) {
  const Share share = make_share(0, 40, 0, 1);
  const auto comm_free_pairs = [&] {
    GlobalPairs global;
    run_ranks(1, [&](Communicator& comm) {
      global = gather_pairs(share.batch, share.pairs, kMaxPairs, comm);
    });
    return global;
  }();
  const auto total = std::ssize(comm_free_pairs.item);
  NegativeSampler sampler(sampler_options(10, 0), kItems, 3);
  double columns_of_first_half = 0;
  constexpr int64_t kSteps = 600;
  const std::set<int64_t> known(comm_free_pairs.item.begin(), comm_free_pairs.item.end());
  const std::set<int64_t> front(comm_free_pairs.item.begin(),
                                comm_free_pairs.item.begin() + total / 2);
  double front_pairs = 0;
  for (const int64_t item : comm_free_pairs.item) front_pairs += front.contains(item) ? 1 : 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    const NegativePool pool = sampler.draw(comm_free_pairs, share.batch, share.pairs, step);
    ASSERT_EQ(pool.item.size(0), 10);
    for (int64_t j = 0; j < 10; ++j) {
      EXPECT_TRUE(known.contains(pool.item[j].item<int64_t>()));
      columns_of_first_half += front.contains(pool.item[j].item<int64_t>()) ? 1 : 0;
    }
  }
  EXPECT_NEAR(columns_of_first_half / (10.0 * kSteps), front_pairs / static_cast<double>(total),
              0.03);
}

TEST(NegativeSampler, RandomPartIsUniformOverTheItems) {
  const Share share = make_share(0, 5, 0, 1);
  NegativeSampler sampler(sampler_options(0, 500), kItems, 3);
  std::vector<double> counts(kItems);
  for (int64_t step = 0; step < 40; ++step) {
    const NegativePool pool = sampler.draw({}, share.batch, {}, step);
    ASSERT_EQ(pool.item.size(0), 500);
    for (int64_t j = 0; j < 500; ++j)
      ++counts.at(static_cast<size_t>(pool.item[j].item<int64_t>()));
  }
  for (const double count : counts) EXPECT_NEAR(count, 400, 120);
}

// A sketch this wide counts exactly, so log Q can be computed from plain maps.
TEST(NegativeSampler, LogQIsThatOfExactCounts) {
  const NegativeOptions options = sampler_options(12, 25);
  NegativeSampler sampler(options, kItems, 3);
  std::map<std::pair<int64_t, int64_t>, double> pair_count;
  std::map<int64_t, double> user_count, in_batch_count, random_count;
  double in_batch_total = 0, random_total = 0;
  for (int64_t step = 0; step < 6; ++step) {
    const Share share = make_share(step, 20, 0, 1);
    GlobalPairs global;
    for (const Pair& pair : share.pairs) {
      global.user.push_back(share.batch.user[static_cast<size_t>(pair.row)]);
      global.item.push_back(pair.item);
    }
    const NegativePool pool = sampler.draw(global, share.batch, share.pairs, step);
    ASSERT_EQ(pool.item.size(0), 37);
    // Counted before the cap and before Q is read.
    for (size_t i = 0; i < global.item.size(); ++i) {
      ++pair_count[{global.user[i], global.item[i]}];
      ++user_count[global.user[i]];
      ++in_batch_count[global.item[i]];
      ++in_batch_total;
    }
    for (int64_t j = 12; j < 37; ++j, ++random_total) ++random_count[pool.item[j].item<int64_t>()];
    for (int64_t j = 0; j < 37; ++j) {
      const int64_t item = pool.item[j].item<int64_t>();
      const double expected = j < 12 ? 12 * in_batch_count[item] / in_batch_total
                                     : 25 * random_count[item] / random_total;
      EXPECT_NEAR(pool.log_q[j].item<double>(), std::log(expected), 1e-5);
    }
    for (size_t i = 0; i < share.pairs.size(); ++i)
      EXPECT_NEAR(
          pool.positive_log_q[static_cast<int64_t>(i)].item<double>(),
          std::log(pair_count[{global.user[i], global.item[i]}] / user_count[global.user[i]]),
          1e-5);
  }
}

TEST(NegativeSampler, WithoutLogQEverythingIsZero) {
  NegativeOptions options = sampler_options(12, 25);
  options.logq = false;
  const Share share = make_share(0, 20, 0, 1);
  NegativeSampler sampler(options, kItems, 3);
  const NegativePool pool = sampler.draw({{1, 2}, {3, 4}, 2}, share.batch, share.pairs, 0);
  EXPECT_EQ(pool.log_q.abs().max().item<float>(), 0);
  EXPECT_EQ(pool.positive_log_q.abs().max().item<float>(), 0);
}

TEST(NegativeSampler, StateGoesOnWhereItWasSaved) {
  const auto draw = [](NegativeSampler& sampler, int64_t step) {
    const Share share = make_share(step, 20, 0, 1);
    return sampler.draw({{1, 2, 2}, {3, 4, 5}, 2}, share.batch, {}, step);
  };
  NegativeSampler whole(sampler_options(12, 25), kItems, 3),
      before(sampler_options(12, 25), kItems, 3);
  for (int64_t step = 0; step < 3; ++step) {
    draw(whole, step);
    draw(before, step);
  }
  std::map<std::string, torch::Tensor> saved;
  for (const auto& [name, tensor] : before.state()) saved[name] = tensor.clone();
  EXPECT_EQ(saved.size(), 4U);
  NegativeSampler after(sampler_options(12, 25), kItems, 3);
  after.load_state(saved, "test");
  const NegativePool expected = draw(whole, 3), found = draw(after, 3);
  EXPECT_TRUE(torch::equal(found.item, expected.item));
  EXPECT_TRUE(torch::equal(found.log_q, expected.log_q));
  EXPECT_THROW(after.load_state({}, "test"), CheckpointError);
  for (const auto& [name, tensor] : saved)
    for (const torch::Tensor& other :
         {torch::zeros({3, 8}, torch::kInt64), torch::zeros(tensor.sizes(), torch::kInt32),
          torch::full(tensor.sizes(), -1, torch::kInt64), torch::Tensor(torch::zeros({1}))}) {
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
