// Synthetic datasets: valid, reproducible, and with the structure they promise.
#include "dataloader/import/synthetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

class Synthetic : public testing::Test {
 protected:
  Dataset make(const std::string& name, int64_t seed = 1) {
    SyntheticOptions options;
    options.out = directory_ / name;
    options.users = 200;
    options.items = 400;
    options.topics = 20;
    options.seed = seed;
    write_synthetic_dataset(options);
    return Dataset::open(options.out);
  }
  TemporaryDirectory directory_;
};

TEST_F(Synthetic, TheSameOptionsGiveTheSameBytes) {
  EXPECT_EQ(make("a").fingerprint(), make("b").fingerprint());
  EXPECT_NE(make("c", /*seed=*/2).fingerprint(), make("d").fingerprint());
}

TEST_F(Synthetic, HasTheSizesAskedFor) {
  const Dataset dataset = make("sizes");
  EXPECT_EQ(dataset.users(), 200);
  EXPECT_EQ(dataset.items(), 400);
  EXPECT_EQ(dataset.vector_width(), 64);
  EXPECT_NEAR(static_cast<double>(dataset.events()) / 200, 100, 30);
  EXPECT_LT(dataset.last_time() - dataset.first_time(), 84 * 86400);
  const auto& topics = dataset.item_topics();
  EXPECT_EQ(std::set<int32_t>(topics.begin(), topics.end()).size(), 20U);
}

TEST_F(Synthetic, PopularityHasALongTail) {
  const Dataset dataset = make("tail");
  std::vector<int64_t> counts(400);
  for (int64_t user = 0; user < dataset.users(); ++user)
    for (const int32_t item : dataset.timeline(user).item) ++counts[static_cast<size_t>(item)];
  std::ranges::sort(counts, std::greater());
  const auto total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const auto head = std::accumulate(counts.begin(), counts.begin() + 40, int64_t{0});
  EXPECT_GT(head, total / 3);  // a tenth of the items
}

// Interests last: a user's most frequent topics of the first half come back in the second.
TEST_F(Synthetic, WhatAUserSavesLasts) {
  const Dataset dataset = make("lasting");
  const auto& topics = dataset.item_topics();
  int64_t users = 0, kept = 0;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    const Timeline events = dataset.timeline(user);
    if (events.size() < 60) continue;
    std::map<int32_t, int64_t> early, late;
    for (int64_t i = 0; i < events.size(); ++i) {
      const auto at = static_cast<size_t>(i);
      if (dataset.actions()[static_cast<size_t>(events.action[at])] != "save") continue;
      ++(i < events.size() / 2 ? early : late)[topics[static_cast<size_t>(events.item[at])]];
    }
    if (early.empty() || late.empty()) continue;
    const auto most = std::ranges::max_element(early, {}, [](const auto& e) { return e.second; });
    ++users;
    kept += late.contains(most->first) ? 1 : 0;
  }
  ASSERT_GT(users, 50);
  EXPECT_GT(kept, users * 6 / 10);  // by chance a user's few late topics would cover a fifth
}

}  // namespace
}  // namespace pinnerformer
