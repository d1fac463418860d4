// Searching more where too few items remain, and the reasons of a recommendation.
#include "launch/serving/item_search.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "launch/serving/reasons.h"

namespace pinnerformer {
namespace {

// Rows 0, 1, 2, ... in this order.
std::vector<ScoredRow> first_rows(int64_t count) {
  std::vector<ScoredRow> rows;
  for (int64_t row = 0; row < count; ++row) rows.push_back({row, static_cast<float>(-row)});
  return rows;
}

struct Searched {
  std::vector<int64_t> rows;
  std::vector<int64_t> asked;  // how many rows each search was asked for
};

Searched search(int64_t count, int64_t rows, const std::vector<int64_t>& left_out,
                int64_t findable) {
  Searched result;
  const std::vector<ScoredRow> best = best_of_rest(count, rows, left_out, [&](int64_t wanted) {
    result.asked.push_back(wanted);
    return first_rows(std::min(wanted, findable));
  });
  for (const ScoredRow& one : best) result.rows.push_back(one.row);
  return result;
}

TEST(ItemSearch, SearchesMoreUntilEnoughRemain) {
  std::vector<int64_t> seen;
  for (int64_t row = 0; row < 50; ++row) seen.push_back(row);
  const Searched found = search(3, 1000, seen, 1000);
  EXPECT_EQ(found.rows, (std::vector<int64_t>{50, 51, 52}));
  EXPECT_EQ(found.asked, (std::vector<int64_t>{6, 12, 24, 48, 53}));
}

TEST(ItemSearch, OneSearchIsEnoughWhereLittleIsLeftOut) {
  const Searched found = search(3, 1000, {1, 500}, 1000);
  EXPECT_EQ(found.rows, (std::vector<int64_t>{0, 2, 3}));
  EXPECT_EQ(found.asked, (std::vector<int64_t>{5}));
}

TEST(ItemSearch, EndsWhereThereIsNoMore) {
  EXPECT_EQ(search(5, 4, {0, 2}, 4).rows, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(search(3, 100, {0}, 2).rows, (std::vector<int64_t>{1}));  // a graph with islands
  EXPECT_TRUE(search(3, 2, {0, 1}, 2).rows.empty());
}

TEST(ItemSearch, ListsOfSeveralVectorsBecomeOne) {
  const std::vector<ScoredRow> lists = {{7, .9F}, {3, .5F}, {1, .4F},   // of one vector
                                        {3, .8F}, {7, .2F}, {0, .4F}};  // of another
  EXPECT_EQ(merge_best(lists, 3), (std::vector<ScoredRow>{{7, .9F}, {3, .8F}, {0, .4F}}));
  EXPECT_EQ(merge_best(lists, 9), (std::vector<ScoredRow>{{7, .9F}, {3, .8F}, {0, .4F}, {1, .4F}}));
  EXPECT_TRUE(merge_best({}, 3).empty());
}

TEST(ItemSearch, ReasonsAreThoseOfTheVectorThatScoresAnItemHighest) {
  const torch::Tensor users = torch::tensor({{1.F, 0.F, .5F}, {0.F, 1.F, .25F}});
  const torch::Tensor items = torch::tensor({{2.F, 0.F, 1.F}, {0.F, 3.F, 1.F}});
  const std::vector<Reason> found = reasons(users, items, items, 2);
  for (int64_t i = 0; i < 2; ++i) {
    const auto at = static_cast<size_t>(i);
    const Reason alone = reasons(users[i], items, items, 2)[at];
    EXPECT_EQ(found[at].event, i);
    EXPECT_EQ(found[at].prior, alone.prior);
    EXPECT_EQ(found[at].prior_share, alone.prior_share);
  }
}

TEST(ItemSearch, ReasonIsTheNearestEventAndTheShareOfThePrior) {
  // The last two columns are the prior's; they must not count for the cosine.
  const torch::Tensor user = torch::tensor({.5F, 0.F, .25F, 0.F});
  const torch::Tensor items = torch::tensor({{1.F, 0.F, 2.F, 9.F}, {0.F, 3.F, -4.F, 0.F}});
  const torch::Tensor events = torch::tensor(
      {{2.F, 0.F, 0.F, 0.F}, {0.F, 0.F, 7.F, 7.F}, {5.F, 5.F, 1.F, 1.F}, {4.F, 0.F, 3.F, 0.F}});
  const std::vector<Reason> found = reasons(user, items, events, 2);
  EXPECT_EQ(found[0].event, 3);  // as near as event 0, and later
  EXPECT_NEAR(found[0].cosine, 1, 1e-6);
  EXPECT_NEAR(found[0].prior, .5, 1e-6);
  EXPECT_NEAR(found[0].prior_share, .5, 1e-6);
  EXPECT_EQ(found[1].event, 2);
  EXPECT_NEAR(found[1].cosine, std::sqrt(.5), 1e-6);
  EXPECT_NEAR(found[1].prior, -1, 1e-6);
  EXPECT_NEAR(found[1].prior_share, 1, 1e-6);
  EXPECT_EQ(
      reasons(user.narrow(0, 0, 2), items.narrow(1, 0, 2), events.narrow(1, 0, 2), 2)[0].prior, 0);
}

}  // namespace
}  // namespace pinnerformer
