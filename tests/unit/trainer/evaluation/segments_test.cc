// Figures by segment against a plain program that assigns every positive by the definitions and
// counts; and that nobody's figures change because segments are asked for.
#include "trainer/evaluation/segments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

constexpr int64_t kSegmentDays = 40;
constexpr int64_t kSegmentUsers = 80;
constexpr int64_t kSegmentItems = 60;
constexpr int64_t kSegmentTopics = 25;  // more than are named
constexpr int64_t kWindowDays = 3;
constexpr std::array<int64_t, 2> kStarts = {34 * kDay, 37 * kDay};
const std::vector<SegmentKind> kAllKinds = {
    SegmentKind::kActivity, SegmentKind::kItemAge, SegmentKind::kPopularity, SegmentKind::kSurface,
    SegmentKind::kAction,   SegmentKind::kTopic,   SegmentKind::kNovelty};

// Items appear one after the other, so that they have every age; low numbers are taken most.
std::vector<EventRow> segment_rows() {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < kSegmentUsers; ++user) {
    KeyedRandom random(RandomStream::kEvaluation, {user, 5});
    const int64_t events = user % 5 == 0 ? 150 + random.below(120) : 6 + random.below(40);
    for (int64_t i = 0; i < events; ++i) {
      const int64_t time = 1 + random.below(kSegmentDays * kDay - 1);
      const int64_t born = 1 + time * (kSegmentItems - 20) / (kSegmentDays * kDay) + 18;
      rows.push_back({.user = user,
                      .item = std::min(random.below(born), random.below(kSegmentItems)),
                      .action = random.below(3) == 0   ? "view"
                                : random.below(2) == 0 ? "save"
                                                       : "like",
                      .surface = random.below(4) == 0 ? "search" : "home",
                      .time = time});
    }
  }
  rows.push_back({.user = kSegmentUsers, .item = 0, .action = "view", .time = 0});
  rows.push_back({.user = kSegmentUsers, .item = 0, .action = "view", .time = kSegmentDays * kDay});
  return rows;
}

torch::Tensor segment_vectors() {
  KeyedRandom random(RandomStream::kEvaluation, {78});
  torch::Tensor vectors = torch::empty({kSegmentItems, 3});
  for (int64_t i = 0; i < vectors.numel(); ++i)
    vectors.mutable_data_ptr<float>()[i] = static_cast<float>(random.below(7) - 3);
  return vectors;
}

// The sum of the vectors of a history: whole numbers, so that ties are exact.
torch::Tensor sums_of_histories(const std::vector<HistoryPrefix>& prefixes) {
  const torch::Tensor items = segment_vectors();
  torch::Tensor sums = torch::zeros({std::ssize(prefixes), 3});
  for (size_t i = 0; i < prefixes.size(); ++i)
    for (int64_t e = 0; e < prefixes[i].length; ++e)
      sums[static_cast<int64_t>(i)] += items[prefixes[i].timeline->item[static_cast<size_t>(e)]];
  return sums;
}

// A positive with all that segments are made of.
struct PlainPositive {
  int64_t user = 0, window = 0, item = 0, length = 0;
  double age_days = 0;  // from the item's first event to t
  std::string action, surface;
  bool seen = false;
  double rank = 0;
};

struct SegmentFixture {
  TemporaryDirectory directory;
  Dataset dataset = open(directory, /*topics=*/true);
  PositiveOptions positives{.actions = {"save", "like"}, .surfaces = {}, .first_only = false};
  SplitOptions split{
      .users_percent = 60, .window_days = kWindowDays, .windows = 2, .min_events = 3};
  EvaluateOptions evaluate;
  std::vector<SegmentKind> by = kAllKinds;

  SegmentFixture() {
    evaluate.batch_users = 4;
    evaluate.bootstrap = 60;
    evaluate.exclude_seen = false;
  }
  static Dataset open(const TemporaryDirectory& directory, bool topics) {
    FixtureItems items{
        .count = kSegmentItems, .vectors = segment_vectors(), .titles = {}, .topics = {}};
    for (int64_t i = 0; topics && i < kSegmentItems; ++i)
      items.topics.push_back(i % 7 == 0 ? -1 : static_cast<int32_t>(i % kSegmentTopics));
    return Dataset::open(write_dataset(directory.path(), segment_rows(), items));
  }
  [[nodiscard]] EvaluationResult run(RetrievalMethod& method) const {
    const auto comm = make_single_communicator();
    std::vector<RetrievalMethod*> methods = {&method};
    return pinnerformer::evaluate({.dataset = dataset,
                                   .positives = positives,
                                   .split = split,
                                   .evaluate = evaluate,
                                   .seed = 3,
                                   .comm = *comm,
                                   .progress = nullptr,
                                   .by = by},
                                  methods);
  }
  [[nodiscard]] EvaluationResult run() const {
    EncoderMethod method("sum", sums_of_histories, segment_vectors());
    return run(method);
  }
};

// Items that score higher than `item`, ties counting half, without the other positives.
double plain_rank(const torch::Tensor& scores, int64_t item, const std::set<int64_t>& others) {
  const float own = scores[item].item<float>();
  double rank = 0;
  for (int64_t other = 0; other < kSegmentItems; ++other) {
    if (others.count(other) > 0) continue;
    const float score = scores[other].item<float>();
    rank += score > own ? 1 : score == own ? .5 : 0;
  }
  return rank;
}

std::map<int64_t, int64_t> first_events_of(const Dataset& dataset) {
  std::map<int64_t, int64_t> first;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    const Timeline events = dataset.timeline(user);
    for (size_t e = 0; e < events.item.size(); ++e) {
      const auto entry = first.try_emplace(events.item[e], events.time[e]).first;
      entry->second = std::min(entry->second, events.time[e]);
    }
  }
  return first;
}

void add_positives_of_window(const Dataset& dataset, const Timeline& events, int64_t window,
                             const std::map<int64_t, int64_t>& born,
                             std::vector<PlainPositive>& found) {
  const int64_t t = kStarts[static_cast<size_t>(window)];
  std::set<int64_t> seen, taken;
  std::vector<PlainPositive> own;
  torch::Tensor sum = torch::zeros({3});
  int64_t length = 0;
  for (size_t e = 0; e < events.item.size(); ++e) {
    const int64_t item = events.item[e];
    if (events.time[e] <= t) {
      seen.insert(item);
      sum += segment_vectors()[item];
      ++length;
      continue;
    }
    const std::string action = dataset.actions()[static_cast<size_t>(events.action[e])];
    if (events.time[e] > t + kWindowDays * kDay || action == "view") continue;
    if (!taken.insert(item).second) continue;
    own.push_back({.user = events.user,
                   .window = window,
                   .item = item,
                   .length = length,
                   .age_days = static_cast<double>(t - born.at(item)) / kDay,
                   .action = action,
                   .surface = dataset.surfaces()[static_cast<size_t>(events.surface[e])],
                   .seen = seen.count(item) > 0});
  }
  if (length < 3) return;
  const torch::Tensor scores = segment_vectors().matmul(sum);
  for (PlainPositive& one : own) {
    one.rank = plain_rank(scores, one.item, taken);
    // The positive itself is among `taken`; it does not compete with itself either way.
    found.push_back(one);
  }
}

std::vector<PlainPositive> plain_positives(const Dataset& dataset) {
  const std::map<int64_t, int64_t> born = first_events_of(dataset);
  std::vector<PlainPositive> found;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    if (dataset.user_hash(user) % 100 >= 60) continue;
    const Timeline events = dataset.timeline(user);
    for (int64_t window = 0; window < 2; ++window)
      add_positives_of_window(dataset, events, window, born, found);
  }
  return found;
}

// Of every item the number of positive events in the days before a window.
std::map<int64_t, int64_t> plain_popularity(const Dataset& dataset, int64_t window) {
  const int64_t t = kStarts[static_cast<size_t>(window)];
  std::map<int64_t, int64_t> counts;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    const Timeline events = dataset.timeline(user);
    for (size_t e = 0; e < events.item.size(); ++e)
      if (events.time[e] > t - kWindowDays * kDay && events.time[e] <= t &&
          dataset.actions()[static_cast<size_t>(events.action[e])] != "view")
        counts[events.item[e]] += 1;
  }
  return counts;
}

std::string plain_tenth(const std::map<int64_t, int64_t>& counts, int64_t item) {
  if (counts.count(item) == 0) return "not taken";
  double below = 0;
  for (const auto& [other, count] : counts)
    below += count < counts.at(item) ? 1 : count == counts.at(item) ? .5 : 0;
  const int tenth = static_cast<int>(std::floor(10 * below / static_cast<double>(counts.size())));
  if (tenth == 0) return "1 (least)";
  return tenth == 9 ? "10 (most)" : std::to_string(tenth + 1);
}

// As write_dataset() names more than ten topics.
std::string name_of_topic(int64_t topic) {
  return (topic < 10 ? "topic0" : "topic") + std::to_string(topic);
}

std::string plain_segment(SegmentKind kind, const PlainPositive& one,
                          const std::vector<std::map<int64_t, int64_t>>& popularity) {
  const auto between = [](double value, const std::vector<std::pair<double, std::string>>& below) {
    for (const auto& [bound, name] : below)
      if (value < bound) return name;
    return below.back().second;
  };
  const double no_bound = 1e18;
  switch (kind) {
    case SegmentKind::kActivity:
      return between(static_cast<double>(one.length), {{5, "under 5"},
                                                       {10, "5 to 9"},
                                                       {20, "10 to 19"},
                                                       {50, "20 to 49"},
                                                       {100, "50 to 99"},
                                                       {200, "100 to 199"},
                                                       {500, "200 to 499"},
                                                       {no_bound, "500 and more"}});
    case SegmentKind::kItemAge:
      return between(one.age_days, {{0, "after t"},
                                    {1, "under 1 day"},
                                    {7, "1 to 7 days"},
                                    {28, "7 to 28 days"},
                                    {90, "28 to 90 days"},
                                    {no_bound, "90 days on"}});
    case SegmentKind::kPopularity:
      return plain_tenth(popularity[static_cast<size_t>(one.window)], one.item);
    case SegmentKind::kSurface:
      return one.surface;
    case SegmentKind::kAction:
      return one.action;
    case SegmentKind::kTopic:
      return one.item % 7 == 0 ? "unknown" : name_of_topic(one.item % kSegmentTopics);
    case SegmentKind::kNovelty:
      return one.seen ? "seen" : "new";
  }
  return "";
}

struct PlainFigures {
  double positives = 0, hits_at_10 = 0, hits_at_50 = 0, gain = 0;
  std::map<int64_t, std::pair<double, double>> users;  // hits at 10, positives

  void add(const PlainPositive& one) {
    positives += 1;
    hits_at_10 += one.rank < 10 ? 1 : 0;
    hits_at_50 += one.rank < 50 ? 1 : 0;
    gain += one.rank < 10 ? 1 / std::log2(one.rank + 2) : 0;
    users[one.user].first += one.rank < 10 ? 1 : 0;
    users[one.user].second += 1;
  }
  [[nodiscard]] double recall_per_user() const {
    double sum = 0;
    for (const auto& [user, counts] : users) sum += counts.first / counts.second;
    return sum / static_cast<double>(users.size());
  }
};

std::map<std::string, PlainFigures> plain_figures(SegmentKind kind,
                                                  const std::vector<PlainPositive>& positives,
                                                  const Dataset& dataset) {
  const std::vector<std::map<int64_t, int64_t>> popularity = {plain_popularity(dataset, 0),
                                                              plain_popularity(dataset, 1)};
  std::map<std::string, PlainFigures> figures;
  for (const PlainPositive& one : positives) figures[plain_segment(kind, one, popularity)].add(one);
  return figures;
}

void expect_figures(const SegmentResult& segment, const PlainFigures& expected) {
  ASSERT_EQ(segment.results.size(), 1U);
  const RetrievalMetrics& metrics = segment.results.front().metrics;
  EXPECT_EQ(static_cast<double>(segment.positives), expected.positives);
  EXPECT_EQ(segment.users, std::ssize(expected.users));
  EXPECT_DOUBLE_EQ(metrics.recall_at_10, expected.hits_at_10 / expected.positives);
  EXPECT_DOUBLE_EQ(metrics.recall_at_50, expected.hits_at_50 / expected.positives);
  EXPECT_DOUBLE_EQ(metrics.recall_at_10_per_user, expected.recall_per_user());
  EXPECT_NEAR(metrics.ndcg_at_10, expected.gain / expected.positives, 1e-12);
  const Interval& interval = segment.results.front().intervals.front();
  if (segment.users < 10) {
    EXPECT_TRUE(std::isnan(interval.low)) << "too few users to resample";
    return;
  }
  EXPECT_LE(interval.low, metrics.recall_at_10);
  EXPECT_GE(interval.high, metrics.recall_at_10);
}

// All but topics, of which some are named and the rest stand together.
TEST(SegmentsTest, FiguresAreThoseOfAPlainProgram) {
  const SegmentFixture fixture;
  const std::vector<PlainPositive> positives = plain_positives(fixture.dataset);
  const EvaluationResult result = fixture.run();
  ASSERT_EQ(result.by.size(), kAllKinds.size());
  for (const SegmentedResult& segmented : result.by) {
    if (segmented.by == SegmentKind::kTopic) continue;
    SCOPED_TRACE(std::string(enum_name(segmented.by)));
    const auto expected = plain_figures(segmented.by, positives, fixture.dataset);
    ASSERT_EQ(segmented.segments.size(), expected.size());
    EXPECT_GT(expected.size(), 1U) << "one segment tells nothing";
    for (const SegmentResult& segment : segmented.segments) {
      SCOPED_TRACE(segment.name);
      ASSERT_EQ(expected.count(segment.name), 1U);
      expect_figures(segment, expected.at(segment.name));
    }
  }
}

TEST(SegmentsTest, TheLargestTopicsAreNamedAndTheOthersStandTogether) {
  const SegmentFixture fixture;
  const EvaluationResult result = fixture.run();
  const auto expected =
      plain_figures(SegmentKind::kTopic, plain_positives(fixture.dataset), fixture.dataset);
  ASSERT_GT(expected.size(), kMostNamedSegments);
  const SegmentedResult& topics = result.by[5];
  ASSERT_EQ(topics.segments.size(), kMostNamedSegments + 1);
  EXPECT_EQ(topics.segments.back().name, "all others");
  double named = 0;
  for (size_t i = 0; i < kMostNamedSegments; ++i) {
    const SegmentResult& segment = topics.segments[i];
    expect_figures(segment, expected.at(segment.name));
    named += static_cast<double>(segment.positives);
    EXPECT_LE(segment.positives, topics.segments[i > 0 ? i - 1 : 0].positives);
  }
  EXPECT_EQ(named + static_cast<double>(topics.segments.back().positives),
            static_cast<double>(result.positives));
}

TEST(SegmentsTest, EveryPositiveIsInOneSegmentOfEachKind) {
  SegmentFixture fixture;
  fixture.evaluate.frequency = {InferenceFrequency::kOnce, InferenceFrequency::kDaily,
                                InferenceFrequency::kRealtime};
  const EvaluationResult result = fixture.run();
  for (const SegmentedResult& segmented : result.by) {
    int64_t positives = 0;
    std::vector<double> hits(3, 0);
    for (const SegmentResult& segment : segmented.segments) {
      positives += segment.positives;
      for (size_t i = 0; i < 3; ++i)
        hits[i] += segment.results[i].metrics.recall_at_10 * static_cast<double>(segment.positives);
    }
    EXPECT_EQ(positives, result.positives) << enum_name(segmented.by);
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(hits[i] / static_cast<double>(positives), result.results[i].metrics.recall_at_10,
                  1e-12)
          << enum_name(segmented.by) << i;
  }
}

TEST(SegmentsTest, FiguresOfTheWholeDoNotChange) {
  SegmentFixture fixture;
  nlohmann::json with = nlohmann::json::parse(to_json(fixture.run()));
  EXPECT_EQ(with.erase("by"), 1U);
  fixture.by.clear();
  EXPECT_EQ(with, nlohmann::json::parse(to_json(fixture.run())));
}

// A method that knows the next item of users with many events and nothing of the others.
TEST(SegmentsTest, ShowWhomAMethodServes) {
  SegmentFixture fixture;
  fixture.by = {SegmentKind::kActivity};
  EncoderMethod method(
      "knows the active",
      [](const std::vector<HistoryPrefix>& users) {
        torch::Tensor scores = torch::zeros({std::ssize(users), kSegmentItems});
        for (size_t i = 0; i < users.size(); ++i) {
          const Timeline& events = *users[i].timeline;
          for (size_t e = 0; users[i].length >= 50 && e < events.item.size(); ++e)
            if (events.time[e] > users[i].time &&
                events.time[e] <= users[i].time + kWindowDays * kDay)
              scores[static_cast<int64_t>(i)][events.item[e]] = 1;
        }
        return scores;
      },
      torch::Tensor());
  const EvaluationResult result = fixture.run(method);
  for (const SegmentResult& segment : result.by.front().segments) {
    const bool active =
        segment.name == "50 to 99" || segment.name == "100 to 199" || segment.name == "200 to 499";
    // Without knowledge all items tie: the rank is half their number.
    EXPECT_EQ(segment.results.front().metrics.recall_at_10, active ? 1 : 0) << segment.name;
  }
}

// The last event of every user is the test: the item that it takes was not taken before.
TEST(SegmentsTest, PopularityOfLeaveOneOutKnowsNoTestEvent) {
  const TemporaryDirectory directory;
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 10; ++user)
    for (int64_t item = 1; item <= 3; ++item)
      rows.push_back({.user = user, .item = item, .action = "save", .time = item * kDay});
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), rows));
  const PositiveOptions positives{.actions = {"save"}, .surfaces = {}};
  const SplitOptions split{
      .users_percent = 100, .min_events = 1, .protocol = SplitProtocol::kLeaveOneOut};
  const EvaluateOptions evaluate;
  const auto comm = make_single_communicator();
  const Segmenter segmenter = make_segmenter(SegmentKind::kPopularity,
                                             {.dataset = dataset,
                                              .positives = positives,
                                              .split = split,
                                              .evaluate = evaluate,
                                              .seed = 1,
                                              .comm = *comm},
                                             HeldOut::kTest);
  EvaluationCase one;
  one.positives = {2, 3};
  EXPECT_GT(segmenter(one, 0), 0) << "the event before the last is known";
  EXPECT_EQ(segmenter(one, 1), 0);
  EXPECT_EQ(segmenter.names().front(), "not taken");
}

TEST(SegmentsTest, TopicsOfADatasetWithoutTopicsAreAnError) {
  TemporaryDirectory directory;
  SegmentFixture fixture;
  fixture.dataset = SegmentFixture::open(directory, /*topics=*/false);
  fixture.by = {SegmentKind::kTopic};
  EXPECT_THAT(message_of<DataError>([&] { (void)fixture.run(); }),
              HasSubstr("has no topics; import"));
}

}  // namespace
}  // namespace pinnerformer
