// The driver against a reference written from the definitions of paper section 8; equality over
// ranks; and that nothing after t reaches a vector made at t.
#include "trainer/evaluation/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "tests/support/dataset_fixture.h"
#include "trainer/evaluation/baselines.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr int64_t kDays = 20;
constexpr int64_t kUsers = 60;
constexpr int64_t kItems = 40;

std::vector<EventRow> random_rows(int64_t future = 0) {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < kUsers; ++user) {
    KeyedRandom random(RandomStream::kEvaluation, {user});
    const int64_t events = 4 + random.below(30);
    for (int64_t i = 0; i < events; ++i) {
      const int64_t time = 1 + random.below(kDays * kDay - 1);
      // `future` changes what happens in the last six days and nothing else.
      const int64_t item = (random.below(kItems) + (time > 14 * kDay ? future : 0)) % kItems;
      rows.push_back({.user = user,
                      .item = item,
                      .action = random.below(3) == 0 ? "view" : "click",
                      .time = time});
    }
  }
  // The same time span whatever was drawn.
  rows.push_back({.user = kUsers, .item = 0, .action = "view", .time = 0});
  rows.push_back({.user = kUsers, .item = 0, .action = "view", .time = kDays * kDay});
  return rows;
}

torch::Tensor whole_vectors() {
  KeyedRandom random(RandomStream::kEvaluation, {77});
  torch::Tensor vectors = torch::empty({kItems, 3});
  for (int64_t i = 0; i < vectors.numel(); ++i) {
    vectors.mutable_data_ptr<float>()[i] = static_cast<float>(random.below(7) - 3);
  }
  return vectors;
}

// Sum of the vectors of a prefix: whole numbers, so that ties are exact.
torch::Tensor sum_of_prefixes(const std::vector<HistoryPrefix>& prefixes) {
  const torch::Tensor items = whole_vectors();
  torch::Tensor sums = torch::zeros({static_cast<int64_t>(prefixes.size()), 3});
  for (size_t i = 0; i < prefixes.size(); ++i) {
    for (int64_t e = 0; e < prefixes[i].length; ++e) {
      sums[static_cast<int64_t>(i)] += items[prefixes[i].timeline->item[static_cast<size_t>(e)]];
    }
  }
  return sums;
}

struct EvaluationFixture {
  TemporaryDirectory directory;
  Dataset dataset;
  PositiveOptions positives{.actions = {"click"}, .surfaces = {}, .first_only = false};
  SplitOptions split{.users_percent = 60, .window_days = 3, .windows = 2, .min_events = 3};
  EvaluateOptions evaluate;
  int64_t seed = 11;

  explicit EvaluationFixture(int64_t future = 0) : dataset(open(directory, future)) {
    evaluate.batch_users = 4;  // several chunks
    evaluate.bootstrap = 20;
    evaluate.frequency = {InferenceFrequency::kOnce, InferenceFrequency::kDaily,
                          InferenceFrequency::kRealtime};
  }
  static Dataset open(const TemporaryDirectory& directory, int64_t future) {
    FixtureItems items;
    items.count = kItems;
    items.vectors = whole_vectors();
    for (int64_t i = 0; i < kItems; ++i) items.topics.push_back(static_cast<int32_t>(i % 5));
    return Dataset::open(write_dataset(directory.path(), random_rows(future), items));
  }
  [[nodiscard]] EvaluationResult run(const std::vector<RetrievalMethod*>& methods,
                                     Communicator& comm) const {
    return pinnerformer::evaluate({.dataset = dataset,
                                   .positives = positives,
                                   .split = split,
                                   .evaluate = evaluate,
                                   .seed = seed,
                                   .comm = comm,
                                   .progress = nullptr},
                                  methods);
  }
  [[nodiscard]] EvaluationResult run(const std::vector<RetrievalMethod*>& methods) const {
    return run(methods, *make_single_communicator());
  }
};

struct Expected {
  int64_t positives = 0;
  int64_t excluded_positives = 0;
  int64_t hits_at_10 = 0;
  std::set<int64_t> users;
  std::set<std::pair<int64_t, int64_t>> user_windows;
};

// One loop over users, windows and events; nothing shared with the code under test but Dataset.
Expected reference(const EvaluationFixture& fixture, const std::string& frequency) {
  const Dataset& dataset = fixture.dataset;
  const torch::Tensor items = whole_vectors();
  Expected expected;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    if (dataset.user_hash(user) % 100 >= 60) continue;
    const Timeline events = dataset.timeline(user);
    for (int64_t window = 0; window < 2; ++window) {
      const int64_t t = (14 + 3 * window) * kDay;
      std::set<int32_t> seen;
      std::map<int32_t, int64_t> positives;  // item -> event
      int64_t history = 0;
      for (int64_t e = 0; e < events.size(); ++e) {
        const auto i = static_cast<size_t>(e);
        const bool is_click = dataset.actions()[static_cast<size_t>(events.action[i])] == "click";
        if (events.time[i] <= t) {
          seen.insert(events.item[i]);
          ++history;
        } else if (events.time[i] <= t + 3 * kDay && is_click) {
          positives.emplace(events.item[i], e);
        }
      }
      if (history < 3) continue;
      if (fixture.evaluate.exclude_seen)
        expected.excluded_positives += static_cast<int64_t>(std::erase_if(
            positives, [&](const auto& positive) { return seen.contains(positive.first); }));
      if (positives.empty()) continue;
      expected.users.insert(user);
      expected.user_windows.insert({user, window});
      for (const auto& [positive, event] : positives) {
        int64_t made = t;
        while (made + kDay < events.time[static_cast<size_t>(event)]) made += kDay;
        torch::Tensor query = torch::zeros({3});
        for (int64_t e = 0; e < events.size(); ++e) {
          const int64_t time = events.time[static_cast<size_t>(e)];
          const bool known = frequency == "once"    ? time <= t
                             : frequency == "daily" ? time <= made
                                                    : e < event;
          if (known) query += items[events.item[static_cast<size_t>(e)]];
        }
        const torch::Tensor scores = items.matmul(query);
        double rank = 0;
        for (int32_t item = 0; item < kItems; ++item) {
          const bool excluded = fixture.evaluate.exclude_seen && seen.contains(item);
          if (excluded || positives.contains(item)) continue;
          const float difference = scores[item].item<float>() - scores[positive].item<float>();
          rank += difference > 0 ? 1 : difference == 0 ? 0.5 : 0;
        }
        expected.positives += 1;
        expected.hits_at_10 += rank < 10 ? 1 : 0;
      }
    }
  }
  return expected;
}

void expect_definitions(bool exclude_seen) {
  EvaluationFixture fixture;
  fixture.evaluate.exclude_seen = exclude_seen;
  EncoderMethod method("model", sum_of_prefixes, whole_vectors());
  const EvaluationResult result = fixture.run({&method});
  ASSERT_THAT(result.results, SizeIs(3));
  EXPECT_EQ(result.index_items, kItems);
  std::set<double> recalls;
  for (const MethodResult& found : result.results) {
    const Expected expected = reference(fixture, std::string(enum_name(found.frequency)));
    EXPECT_GT(expected.positives, 50);
    EXPECT_EQ(result.users, static_cast<int64_t>(expected.users.size()));
    EXPECT_EQ(result.user_windows, static_cast<int64_t>(expected.user_windows.size()));
    EXPECT_EQ(result.positives, expected.positives);
    EXPECT_EQ(result.excluded_positives, expected.excluded_positives);
    EXPECT_EQ(expected.excluded_positives > 0, exclude_seen);
    EXPECT_DOUBLE_EQ(found.metrics.recall_at_10, static_cast<double>(expected.hits_at_10) /
                                                     static_cast<double>(expected.positives))
        << enum_name(found.frequency);
    recalls.insert(found.metrics.recall_at_10);
  }
  EXPECT_GE(recalls.size(), 2U) << "the frequencies must differ for this test to mean anything";
}

TEST(EvaluationTest, EqualsTheDefinitionsAtEveryFrequency) { expect_definitions(true); }
TEST(EvaluationTest, SeenItemsCompeteWhereRepeatsAreWanted) { expect_definitions(false); }

TEST(EvaluationTest, SameOnAnyNumberOfRanks) {
  EvaluationFixture fixture;
  fixture.evaluate.index_items = 25;
  std::set<std::string> results;
  for (const int size : {1, 2, 3, 7, 16}) {
    const auto comms = make_thread_communicators(size, 60);
    std::vector<std::thread> threads;
    std::vector<std::string> found(static_cast<size_t>(size));
    for (size_t rank = 0; rank < found.size(); ++rank) {
      threads.emplace_back([&, rank] {
        EncoderMethod model("model", sum_of_prefixes, whole_vectors());
        const BaselineInputs inputs{.dataset = fixture.dataset,
                                    .positives = fixture.positives,
                                    .split = fixture.split,
                                    .evaluate = fixture.evaluate,
                                    .seed = fixture.seed,
                                    .comm = *comms[rank]};
        const auto popularity = make_baseline(Baseline::kPopularity, inputs);
        const auto mean = make_baseline(Baseline::kMeanOfLast, inputs);
        found[rank] = to_json(fixture.run({&model, popularity.get(), mean.get()}, *comms[rank]));
      });
    }
    for (std::thread& thread : threads) thread.join();
    results.insert(found.begin(), found.end());
  }
  EXPECT_THAT(results, SizeIs(1));
}

// Everything an encoder was given, in the order it was asked.
std::vector<std::vector<int64_t>> inputs_seen(int64_t future, const std::string& frequency) {
  EvaluationFixture fixture(future);
  fixture.split.windows = 1;
  fixture.split.window_days = 6;
  fixture.split.min_events = 1;
  fixture.positives.actions = {};
  fixture.evaluate.exclude_seen = false;  // every positive stays, whatever the future holds
  fixture.evaluate.frequency = {enum_value<InferenceFrequency>(frequency)};
  std::vector<std::vector<int64_t>> inputs;
  EncoderMethod method(
      "spy",
      [&](const std::vector<HistoryPrefix>& prefixes) {
        for (const HistoryPrefix& prefix : prefixes) {
          std::vector<int64_t> input = {prefix.timeline->user, prefix.time};
          for (size_t e = 0; e < static_cast<size_t>(prefix.length); ++e) {
            EXPECT_LE(prefix.timeline->time[e], prefix.time);
            input.push_back(prefix.timeline->time[e]);
            input.push_back(prefix.timeline->item[e]);
          }
          inputs.push_back(input);
        }
        return sum_of_prefixes(prefixes);
      },
      whole_vectors());
  static_cast<void>(fixture.run({&method}));
  return inputs;
}

TEST(EvaluationTest, NothingAfterTReachesAVectorMadeAtT) {
  const auto inputs = inputs_seen(/*future=*/0, "once");
  EXPECT_THAT(inputs, testing::Not(testing::IsEmpty()));
  EXPECT_EQ(inputs, inputs_seen(/*future=*/17, "once"));
  // The planted change is visible where it may be.
  EXPECT_NE(inputs_seen(0, "daily"), inputs_seen(17, "daily"));
}

TEST(EvaluationTest, BatchesNeverExceedTheirSize) {
  const EvaluationFixture fixture;
  EncoderMethod method(
      "model",
      [](const std::vector<HistoryPrefix>& prefixes) {
        EXPECT_LE(prefixes.size(), 4U);
        return sum_of_prefixes(prefixes);
      },
      whole_vectors());
  static_cast<void>(fixture.run({&method}));
}

TEST(EvaluationTest, ProgressReachesTheTotal) {
  const EvaluationFixture fixture;
  EncoderMethod method("model", sum_of_prefixes, whole_vectors());
  int64_t last = 0;
  int64_t total = -1;
  const auto comm = make_single_communicator();
  static_cast<void>(evaluate({.dataset = fixture.dataset,
                              .positives = fixture.positives,
                              .split = fixture.split,
                              .evaluate = fixture.evaluate,
                              .seed = 1,
                              .comm = *comm,
                              .progress =
                                  [&](const EvaluationProgress& at) {
                                    EXPECT_LE(at.users_done, at.users_total);
                                    last = at.users_done;
                                    total = at.users_total;
                                  }},
                             std::vector<RetrievalMethod*>{&method}));
  EXPECT_EQ(last, total);
}

TEST(EvaluationTest, JsonHasTheDocumentedKeys) {
  EvaluationFixture fixture;
  fixture.evaluate.frequency = {InferenceFrequency::kOnce};
  fixture.evaluate.daily_delay_days = 2;
  EncoderMethod method("model", sum_of_prefixes, whole_vectors());
  RandomBaseline random(kItems, 1);
  const auto json = nlohmann::json::parse(to_json(fixture.run({&method, &random})));
  for (const char* key : {"users", "user_windows", "positives", "index_items"}) {
    EXPECT_GT(json.at(key).get<int64_t>(), 0) << key;
  }
  EXPECT_EQ(json.at("daily_delay_days"), 2);
  ASSERT_THAT(json.at("results"), SizeIs(2));
  EXPECT_EQ(json["results"][0]["method"], "model");
  EXPECT_EQ(json["results"][1]["method"], "random");
  for (const auto& result : json["results"]) {
    EXPECT_EQ(result.at("frequency"), "once");
    EXPECT_TRUE(result.at("p90_coverage@10").is_number());
    for (const char* key :
         {"recall@10", "recall@50", "recall@10_per_user", "ndcg@10", "interest_entropy@50"}) {
      EXPECT_TRUE(result.at(key).is_number()) << key;
      EXPECT_TRUE(result.at("stderr").at(key).is_number()) << key;
    }
  }
}

TEST(EvaluationTest, RunsAreAveragedAndOthersComparedWithThem) {
  EvaluationFixture fixture;
  fixture.evaluate.frequency = {InferenceFrequency::kOnce, InferenceFrequency::kDaily};
  fixture.evaluate.bootstrap = 60;
  EncoderMethod sum("model", sum_of_prefixes, whole_vectors());
  EncoderMethod opposite("model", sum_of_prefixes, -whole_vectors());
  RandomBaseline random(kItems, 1);
  const double single = fixture.run({&sum}).results[0].metrics.recall_at_50;
  const double other = fixture.run({&opposite}).results[0].metrics.recall_at_50;
  const auto comm = make_single_communicator();
  const std::vector<MethodRuns> methods{{"model", {&sum, &opposite}}, {"random", {&random}}};
  const EvaluationResult result = evaluate({.dataset = fixture.dataset,
                                            .positives = fixture.positives,
                                            .split = fixture.split,
                                            .evaluate = fixture.evaluate,
                                            .seed = fixture.seed,
                                            .comm = *comm,
                                            .progress = nullptr},
                                           methods);
  ASSERT_THAT(result.results, SizeIs(3));
  EXPECT_DOUBLE_EQ(result.results[0].metrics.recall_at_50, (single + other) / 2);
  EXPECT_EQ(result.results[0].runs, 2);
  EXPECT_EQ(result.results[0].reference, "");
  const MethodResult& daily = result.results[1];
  EXPECT_EQ(daily.reference, "model");
  EXPECT_EQ(daily.reference_frequency, InferenceFrequency::kOnce);
  const MethodResult& chance = result.results[2];
  EXPECT_EQ(chance.reference, "model");
  EXPECT_DOUBLE_EQ(chance.differences[0].value,
                   chance.metrics.recall_at_10 - result.results[0].metrics.recall_at_10);
  EXPECT_LE(chance.differences[0].interval.low, chance.differences[0].interval.high);
  const auto json = nlohmann::json::parse(to_json(result));
  EXPECT_EQ(json["results"][2]["difference"]["to"], "model");
  EXPECT_EQ(json["results"][2]["interval"]["recall@10"][0], chance.intervals[0].low);
  EXPECT_FALSE(json["results"][0].contains("difference"));
}

TEST(EvaluationTest, MethodsAreComparedAtTheSameFrequency) {
  const EvaluationFixture fixture;
  EncoderMethod model("model", sum_of_prefixes, whole_vectors());
  EncoderMethod opposite("opposite", sum_of_prefixes, -whole_vectors());
  const EvaluationResult result = fixture.run({&model, &opposite});
  ASSERT_THAT(result.results, SizeIs(6));
  for (size_t i = 0; i < 3; ++i) {
    const MethodResult& same = result.results[i];
    const MethodResult& other = result.results[3 + i];
    SCOPED_TRACE(enum_name(other.frequency));
    EXPECT_EQ(other.reference, "model");
    EXPECT_EQ(other.reference_frequency, same.frequency);
    EXPECT_EQ(other.reference_frequency, other.frequency);
    EXPECT_DOUBLE_EQ(other.differences[0].value,
                     other.metrics.recall_at_10 - same.metrics.recall_at_10);
  }
}

TEST(EvaluationTest, LeaveOneOutRanksOnePositivePerUser) {
  EvaluationFixture fixture;
  fixture.split = {.users_percent = 100, .min_events = 1, .protocol = SplitProtocol::kLeaveOneOut};
  fixture.positives.actions = {};
  fixture.evaluate.exclude_seen = false;
  EncoderMethod method("model", sum_of_prefixes, whole_vectors());
  const EvaluationResult result = fixture.run({&method});
  EXPECT_EQ(result.users, kUsers + 1);
  EXPECT_EQ(result.positives, kUsers + 1);
  ASSERT_THAT(result.results, SizeIs(1));
  const auto json = nlohmann::json::parse(to_json(result));
  EXPECT_EQ(json["results"][0]["hr@10"], json["results"][0]["recall@10"]);
  EXPECT_GT(json["results"][0]["ndcg@10"].get<double>(), 0);
  EXPECT_LE(json["results"][0]["ndcg@10"], json["results"][0]["hr@10"]);
}

TEST(EvaluationTest, MethodsWithoutTimeRunOnce) {
  const EvaluationFixture fixture;
  RandomBaseline random(kItems, 1);
  const EvaluationResult result = fixture.run({&random});
  ASSERT_THAT(result.results, SizeIs(1));
  EXPECT_EQ(result.results[0].frequency, InferenceFrequency::kOnce);
}

TEST(EvaluationTest, NothingToEvaluateIsExplained) {
  EvaluationFixture fixture;
  fixture.split.min_events = 1000;
  EncoderMethod method("model", sum_of_prefixes, whole_vectors());
  try {
    static_cast<void>(fixture.run({&method}));
    FAIL() << "nothing was thrown";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("split.min_events = 1000"));
  }
}

}  // namespace
}  // namespace pinnerformer
