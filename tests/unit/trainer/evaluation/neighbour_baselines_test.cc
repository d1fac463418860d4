// Baselines of counted pairs against counts worked out by hand, and against planted leaks: a method
// that saw anything after t, or another line of the same basket, would find every positive.
#include "trainer/evaluation/neighbour_baselines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <thread>

#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "trainer/evaluation/baselines.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

EventRow on_day(int64_t user, int64_t item, double day, const std::string& action = "click") {
  return {.user = user,
          .item = item,
          .action = action,
          .time = static_cast<int64_t>(day * static_cast<double>(kDay))};
}

class NeighbourBaselinesTest : public testing::Test {
 protected:
  void open(const std::vector<EventRow>& rows, int64_t items) {
    FixtureItems fixture;
    fixture.count = items;
    fixture.vectors = torch::eye(items);
    dataset_ = std::make_unique<Dataset>(
        Dataset::open(write_dataset(directory_ / std::to_string(++datasets_), rows, fixture)));
  }
  [[nodiscard]] BaselineInputs inputs(Communicator& comm) const {
    return {.dataset = *dataset_,
            .positives = positives_,
            .split = split_,
            .evaluate = evaluate_,
            .seed = 3,
            .comm = comm};
  }
  std::unique_ptr<RetrievalMethod> ready(Baseline name) {
    auto method = make_baseline(name, inputs(*comm_));
    vectors_ = method->item_vectors();
    return method;
  }
  // Scores of all items for the first `length` events of a user.
  std::vector<float> scores(RetrievalMethod& method, const std::string& user, int64_t length) {
    const Timeline timeline = dataset_->timeline(*dataset_->find_user(user));
    const torch::Tensor query =
        method
            .encode({{.timeline = &timeline,
                      .length = length,
                      .time = timeline.time[static_cast<size_t>(length - 1)]}})
            .vectors;
    const torch::Tensor all = (vectors_.defined() ? query.matmul(vectors_.t()) : query)[0];
    return {all.const_data_ptr<float>(), all.const_data_ptr<float>() + all.numel()};
  }
  double recall(Baseline name, InferenceFrequency frequency) {
    evaluate_.frequency = {frequency};
    const auto method = make_baseline(name, inputs(*comm_));
    const std::vector<RetrievalMethod*> methods{method.get()};
    return evaluate({.dataset = *dataset_,
                     .positives = positives_,
                     .split = split_,
                     .evaluate = evaluate_,
                     .seed = 3,
                     .comm = *comm_,
                     .progress = nullptr},
                    methods)
        .results.front()
        .metrics.recall_at_10;
  }

  TemporaryDirectory directory_;
  int64_t datasets_ = 0;
  std::unique_ptr<Dataset> dataset_;
  PositiveOptions positives_{.actions = {"click"}, .surfaces = {}};
  SplitOptions split_{.users_percent = 0, .window_days = 1, .windows = 1, .min_events = 1};
  EvaluateOptions evaluate_;
  std::unique_ptr<Communicator> comm_ = make_single_communicator();
  torch::Tensor vectors_;
};

// Twice the scores: halves are the smallest part of a count, and the back-off is at most .01.
std::vector<int64_t> whole(const std::vector<float>& scores) {
  std::vector<int64_t> numbers;
  for (const float score : scores) numbers.push_back(std::lround(score * 2));
  return numbers;
}

TEST_F(NeighbourBaselinesTest, MarkovCountsFromASecondToTheNextWithAPositive) {
  // User 1: basket {0, 1}, a view of 2, basket {3, 4}; user 2: 0 then 3.
  open({on_day(1, 0, 1), on_day(1, 1, 1), on_day(1, 2, 2, "view"), on_day(1, 3, 3), on_day(1, 4, 3),
        on_day(2, 0, 1), on_day(2, 3, 2)},
       6);
  const auto markov = ready(Baseline::kMarkov);
  EXPECT_EQ(markov->name(), "markov");
  // Twice the counts. The latest second of the first two events is the basket {0, 1}: 0 was
  // followed by 3 twice and by 4 once, 1 by both once.
  EXPECT_THAT(whole(scores(*markov, "1", 2)), ElementsAre(0, 0, 0, 6, 4, 0));
  EXPECT_THAT(whole(scores(*markov, "1", 3)), ElementsAre(0, 0, 0, 2, 2, 0));
  evaluate_.markov_last = 2;
  const auto two = ready(Baseline::kMarkov);
  EXPECT_THAT(whole(scores(*two, "1", 3)), ElementsAre(0, 0, 0, 5, 4, 0)) << "half of the earlier";
}

TEST_F(NeighbourBaselinesTest, WithoutATransitionPopularityDecides) {
  open({on_day(1, 0, 1), on_day(2, 1, 1), on_day(3, 1, 1), on_day(4, 2, 1, "view")}, 3);
  const auto found = scores(*ready(Baseline::kMarkov), "4", 1);
  EXPECT_FLOAT_EQ(found[1], 0.01F);
  EXPECT_FLOAT_EQ(found[0], 0.005F);
  EXPECT_EQ(found[2], 0);
}

TEST_F(NeighbourBaselinesTest, ItemToItemIsTheCosineOfUsers) {
  open({on_day(1, 0, 1), on_day(1, 1, 1), on_day(2, 0, 1), on_day(2, 1, 2), on_day(3, 0, 1),
        on_day(3, 2, 2), on_day(4, 0, 3), on_day(5, 3, 4, "view"), on_day(5, 1, 5)},
       4);
  const auto method = ready(Baseline::kItemToItem);
  EXPECT_EQ(method->name(), "item_to_item");
  // 0 has four users, 1 three, 2 one; 0 and 1 share two, 0 and 2 one.
  const std::vector<float> found = scores(*method, "4", 1);
  EXPECT_NEAR(found[1], 2 / std::sqrt(12.0), 0.0101);
  EXPECT_NEAR(found[2], 1 / std::sqrt(4.0), 0.0101);
  EXPECT_NEAR(found[3], 0, 0.0101) << "a view is no positive";
  evaluate_.item_to_item_last = 1;
  const auto latest = ready(Baseline::kItemToItem);
  EXPECT_NEAR(scores(*latest, "3", 2)[1], 0, 0.0101) << "only item 2, which shares no user with 1";
}

TEST_F(NeighbourBaselinesTest, EaseSolvesTheRegressionOfEachItemOnTheOthers) {
  constexpr int64_t kCatalogue = 7;
  torch::Tensor users = torch::zeros({25, kCatalogue}, torch::kFloat64);
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < users.size(0); ++user) {
    KeyedRandom random(RandomStream::kEvaluation, {user, 5});
    for (int64_t event = 0; event < 4; ++event) {
      const int64_t item = random.below(kCatalogue);
      rows.push_back(on_day(user, item, 1 + static_cast<double>(event)));
      users[user][item] = 1;
    }
  }
  open(rows, kCatalogue);
  evaluate_.ease_l2 = 2.5;
  const auto ease = ready(Baseline::kEase);
  EXPECT_EQ(ease->name(), "ease");
  const Timeline one = dataset_->timeline(*dataset_->find_user("7"));
  const std::vector<float> found = scores(*ease, "7", one.size());
  // Ridge regression of column b on all others, item by item.
  for (int64_t b = 0; b < kCatalogue; ++b) {
    torch::Tensor others = users.clone();
    others.select(1, b).zero_();
    const torch::Tensor gram =
        others.t().matmul(others) + 2.5 * torch::eye(kCatalogue, torch::kFloat64);
    const torch::Tensor weights = torch::linalg_solve(gram, others.t().matmul(users.select(1, b)));
    EXPECT_NEAR(found[static_cast<size_t>(b)], others[7].dot(weights).item<double>(), 1e-4) << b;
  }
}

TEST_F(NeighbourBaselinesTest, EaseRefusesLargeCatalogues) {
  open({on_day(1, 0, 1), on_day(1, 1, 2)}, 2);
  FixtureItems items;
  items.count = 12001;
  const Dataset large =
      Dataset::open(write_dataset(directory_ / "large", {on_day(1, 0, 1), on_day(1, 1, 2)}, items));
  const BaselineInputs large_inputs{.dataset = large,
                                    .positives = positives_,
                                    .split = split_,
                                    .evaluate = evaluate_,
                                    .seed = 3,
                                    .comm = *comm_};
  EXPECT_THAT(message_of<DataError>(
                  [&] { static_cast<void>(make_baseline(Baseline::kEase, large_inputs)); }),
              HasSubstr("at most 12000 items"));
}

constexpr Baseline kCounted[] = {Baseline::kMarkov, Baseline::kItemToItem, Baseline::kEase,
                                 Baseline::kPopularityRecency};

// Forty users with five clicks before day 8. `future` moves the items of what comes later: after t,
// and of the last two events of everybody.
std::vector<EventRow> rows_with_future(int64_t future) {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 40; ++user) {
    KeyedRandom random(RandomStream::kEvaluation, {user, 9});
    for (int64_t event = 0; event < 7; ++event) {
      const int64_t moved = event < 5 ? 0 : future;
      // What user 3 takes later is new to them, and known from others.
      const int64_t own = event < 5 ? event : 6;
      const int64_t drawn = random.below(12);
      rows.push_back(on_day(user, ((user == 3 ? own : drawn) + moved) % 12,
                            event < 5 ? 1 + 1.6 * static_cast<double>(event)  // the last at 7.4
                                      : 8 + 0.5 * static_cast<double>(event - 4)));
    }
  }
  rows.push_back(on_day(99, 0, 0));
  rows.push_back(on_day(99, 0, 9));
  return rows;
}

// With one window t is day 8.
TEST_F(NeighbourBaselinesTest, NothingAfterTChangesAScore) {
  for (const SplitProtocol protocol : {SplitProtocol::kWindows, SplitProtocol::kLeaveOneOut}) {
    split_ = {
        .users_percent = 30, .window_days = 1, .windows = 1, .min_events = 1, .protocol = protocol};
    for (const Baseline name : kCounted) {
      std::vector<std::vector<float>> found;
      for (const int64_t future : {0, 5}) {
        open(rows_with_future(future), 12);
        const auto method = ready(name);
        found.push_back(scores(*method, "3", 5));
      }
      EXPECT_EQ(found[0], found[1]) << enum_name(name);
      // What the user did later may be seen by later queries.
      const auto method = ready(name);
      EXPECT_NE(scores(*method, "3", 6), found[1]) << enum_name(name);
    }
  }
}

// After t, and only then, item i + 20 follows item i: at once, in the same second or a day later.
// Before t everybody takes items at random.
std::vector<EventRow> planted_rows(double gap) {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 300; ++user) {
    KeyedRandom random(RandomStream::kEvaluation, {user, 13});
    for (int64_t event = 0; event < 4; ++event)
      rows.push_back(on_day(user, random.below(400), 1 + 4 * static_cast<double>(event)));
    const int64_t item = random.below(200);
    rows.push_back(on_day(user, item, 14.25));
    rows.push_back(on_day(user, item + 200, 14.25 + gap));
  }
  rows.push_back(on_day(999, 0, 0));
  rows.push_back(on_day(999, 0, 17));
  return rows;
}

TEST_F(NeighbourBaselinesTest, PlantedPairsAreFoundAtNoFrequency) {
  // 400 items: 10 of them by chance are .025.
  for (const double gap : {0.0, 1.5}) {
    open(planted_rows(gap), 400);
    split_ = {.users_percent = 50, .window_days = 3, .windows = 1, .min_events = 1};
    for (const Baseline name : kCounted)
      for (const auto frequency :
           {InferenceFrequency::kOnce, InferenceFrequency::kDaily, InferenceFrequency::kRealtime})
        EXPECT_LT(recall(name, frequency), 0.12) << enum_name(name) << " gap " << gap;
  }
}

TEST_F(NeighbourBaselinesTest, PlantedPairsAreFoundByNoLeaveOneOut) {
  open(planted_rows(1.5), 400);
  for (const int64_t leave_out : {1, 2}) {
    split_ = {.users_percent = 100,
              .min_events = 1,
              .protocol = SplitProtocol::kLeaveOneOut,
              .leave_out = leave_out};
    for (const Baseline name : kCounted)
      EXPECT_LT(recall(name, InferenceFrequency::kOnce), 0.12) << enum_name(name);
  }
}

TEST_F(NeighbourBaselinesTest, AllRanksHaveTheScoresOfOne) {
  open(rows_with_future(0), 12);
  const Timeline timeline = dataset_->timeline(*dataset_->find_user("3"));
  for (const Baseline name : kCounted) {
    std::vector<std::vector<torch::Tensor>> found;
    for (const int size : {1, 3}) {
      const auto comms = make_thread_communicators(size, 60);
      std::vector<torch::Tensor> scores(static_cast<size_t>(size));
      std::vector<std::thread> threads;
      for (size_t rank = 0; rank < scores.size(); ++rank)
        threads.emplace_back([&, rank] {
          const auto method = make_baseline(name, inputs(*comms[rank]));
          const torch::Tensor items = method->item_vectors();
          const torch::Tensor query =
              method->encode({{.timeline = &timeline, .length = 5, .time = timeline.time[4]}})
                  .vectors;
          scores[rank] = items.defined() ? query.matmul(items.t()) : query;
        });
      for (std::thread& thread : threads) thread.join();
      found.push_back(scores);
    }
    for (const torch::Tensor& scores : found[1])
      EXPECT_TRUE(torch::equal(scores, found[0][0])) << enum_name(name);
  }
}

}  // namespace
}  // namespace pinnerformer
