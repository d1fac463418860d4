// The objectives against the enumeration of what their definitions allow.
#include "trainer/objective/objective.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "dataloader/base/enum_name.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/objective_oracle.h"
#include "tests/support/training_rows.h"

namespace pinnerformer {
namespace {

using oracle::AllowedPairs;
using oracle::Event;

constexpr int64_t kWindow = 86400;  // one day

ObjectiveOptions options_of(const std::string& name, const std::string& anchor) {
  ObjectiveOptions options;
  options.name = enum_value<ObjectiveKind>(name);
  options.window_anchor = enum_value<WindowAnchor>(anchor);
  options.window_days = 1;
  options.max_labels = 32;
  options.positions = 32;
  return options;
}

// The sample whose newest input is `newest`, as the loader would make it.
TrainingRow row_of(const std::vector<Event>& events, int64_t newest, const WindowSpec& spec,
                   int64_t draw_key) {
  const Timeline timeline = timeline_of(events);
  for (int64_t key = 0;; ++key) {
    KeyedRandom random(RandomStream::kWindow, {key});
    const auto window = draw_window(timeline, positives_of(events), spec, random);
    if (window && window->end == newest + 1) return {7, timeline, *window, draw_key};
  }
}

// The candidates for in-batch columns, by their definition: `window` are the items of the newest
// input's window.
void expect_pool(const TrainingBatch& batch, const std::vector<Pair>& pairs,
                 const ObjectiveOptions& options, int64_t max_length,
                 const std::set<int64_t>& window) {
  const auto found = pool_positives(batch, pairs, options);
  ASSERT_EQ(found.size(), 1U);
  std::set<int64_t> allowed;
  if (options.name == ObjectiveKind::kNextItem) {
    for (const Pair& pair : pairs) allowed.insert(pair.item);
  } else if (!pairs.empty()) {
    allowed = window;
  }
  const int64_t most = options.name == ObjectiveKind::kNextItem ? max_length : options.max_labels;
  EXPECT_EQ(std::ssize(found[0]), std::min(most, std::ssize(allowed)));
  EXPECT_EQ(std::set<int64_t>(found[0].begin(), found[0].end()).size(), found[0].size());
  for (const int64_t item : found[0]) EXPECT_TRUE(allowed.contains(item));
}

struct Case {
  std::string objective;
  std::string anchor = "sequence_end";
  int64_t events = 0;  // window_events
};

std::set<int64_t> items_of(const AllowedPairs& pairs) {
  std::set<int64_t> items;
  for (const auto& [position, item] : pairs) items.insert(item);
  return items;
}

class ObjectivePairs : public testing::TestWithParam<Case> {};

// Every pair that is drawn is allowed, and over many keys every allowed pair is drawn.
TEST_P(ObjectivePairs, AreThoseOfTheDefinition) {
  int64_t windows = 0, nonempty = 0;
  for (int64_t seed = 0; seed < 120; ++seed) {
    const auto events = oracle::random_timeline(1000 + seed, kWindow);
    ObjectiveOptions options = options_of(GetParam().objective, GetParam().anchor);
    options.window_events = GetParam().events;
    if (options.window_events > 0) options.window_days = 0;
    if (seed % 3 == 1) options.max_labels = 2, options.positions = 2;
    const int64_t max_length = 1 + seed % 6;
    const WindowSpec spec = window_spec(options, max_length, 0);
    const bool any = GetParam().objective == "next_item";
    const oracle::LabelReach reach{any ? int64_t{1} << 40 : kWindow, GetParam().events};
    for (const int64_t newest : oracle::allowed_newest(events, reach)) {
      SCOPED_TRACE(c10::str("timeline ", seed, ", newest input ", newest));
      TrainingRow row = row_of(events, newest, spec, 0);
      const AllowedPairs allowed = oracle::allowed_pairs(
          events, row.window.first, newest, GetParam().objective, GetParam().anchor, reach);
      const std::set<int64_t> window = items_of(
          oracle::allowed_pairs(events, newest, newest, "all_action", "sequence_end", reach));
      AllowedPairs drawn;
      for (row.draw_key = 0; row.draw_key < 150; ++row.draw_key) {
        const TrainingBatch batch = training_batch({row});
        const auto pairs = make_pairs(batch, options);
        expect_pool(batch, pairs, options, max_length, window);
        double weights = 0;
        for (const Pair& pair : pairs) {
          drawn.insert({row.window.first + pair.position, pair.item});
          EXPECT_EQ(pair.row, 0);
          EXPECT_GT(pair.weight, 0);
          weights += pair.weight;
        }
        EXPECT_NEAR(weights, pairs.empty() ? 0 : 1, 1e-12);
        options.weighting = PairWeighting::kPair;
        const auto by_pair = make_pairs(training_batch({row}), options);
        options.weighting = PairWeighting::kUser;
        ASSERT_EQ(by_pair.size(), pairs.size());
        for (size_t i = 0; i < pairs.size(); ++i)
          EXPECT_NEAR(by_pair[i].weight, pairs[i].weight * static_cast<double>(pairs.size()), 1e-9);
      }
      EXPECT_EQ(drawn, allowed);
      ++windows;
      nonempty += allowed.empty() ? 0 : 1;
    }
  }
  EXPECT_GT(windows, 200) << "the random timelines offer too little";
  EXPECT_GT(nonempty, 200);
}

INSTANTIATE_TEST_SUITE_P(
    All, ObjectivePairs,
    testing::Values(Case{"next_action"}, Case{"sasrec"}, Case{"all_action"}, Case{"next_item"},
                    Case{"dense_all_action", "sequence_end"}, Case{"dense_all_action", "position"},
                    Case{"next_action", "sequence_end", 1}, Case{"sasrec", "sequence_end", 3},
                    Case{"all_action", "sequence_end", 2}, Case{"all_action", "sequence_end", 20},
                    Case{"dense_all_action", "sequence_end", 3},
                    Case{"dense_all_action", "position", 1},
                    Case{"dense_all_action", "position", 3},
                    Case{"dense_all_action", "position", 20}),
    [](const auto& entry) {
      const int64_t events = entry.param.events;
      return entry.param.objective + "_" + entry.param.anchor +
             (events > 0 ? "_" + std::to_string(events) + "_events" : "");
    });

// Pairs of a single row, newest input at index `newest`.
std::vector<Pair> pairs_of(const std::vector<Event>& events, int64_t newest,
                           const ObjectiveOptions& options, int64_t key = 0) {
  return make_pairs(training_batch({row_of(events, newest, window_spec(options, 10, 0), key)}),
                    options);
}

// Without ties a next item is the next event, whatever the times are.
TEST(Objective, NextItemGoesByOrder) {
  std::vector<Event> with_times, without;
  for (int64_t i = 0; i < 9; ++i) {
    with_times.push_back({i * i * kDay, 10 + i, true});
    without.push_back({i, 10 + i, true});
  }
  const ObjectiveOptions options = options_of("next_item", "sequence_end");
  for (const auto& events : {with_times, without}) {
    const auto pairs = pairs_of(events, 7, options);
    ASSERT_EQ(pairs.size(), 8U);
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(pairs[i].item, 11 + pairs[i].position);
      EXPECT_EQ(pairs[i].time, events[static_cast<size_t>(pairs[i].position)].time);
      EXPECT_EQ(pairs[i].weight, 1.0 / 8);
    }
  }
}

TEST(Objective, LabelAtExactlyTheWindowIsInAndOneSecondLaterIsOut) {
  const std::vector<Event> events{{0, 1, false}, {kDay, 2, true}, {kDay + 1, 3, true}};
  for (const char* anchor : {"sequence_end", "position"})
    for (int64_t key = 0; key < 50; ++key) {
      const auto pairs = pairs_of(events, 0, options_of("dense_all_action", anchor), key);
      ASSERT_EQ(pairs.size(), 1U);
      EXPECT_EQ(pairs[0].item, 2);
    }
  const auto all = pairs_of(events, 0, options_of("all_action", "sequence_end"));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].item, 2);
}

// Ten years between two events: the window does not know.
TEST(Objective, AWindowOfEventsGoesByOrder) {
  ObjectiveOptions options = options_of("all_action", "sequence_end");
  options.window_days = 0;
  options.window_events = 3;
  const std::vector<Event> events{{0, 1, false},           {0, 2, true},
                                  {3650 * kDay, 3, true},  {3650 * kDay, 4, true},
                                  {3651 * kDay, 5, false}, {3652 * kDay, 6, true}};
  std::set<int64_t> items;
  for (const Pair& pair : pairs_of(events, 0, options)) items.insert(pair.item);
  EXPECT_EQ(items, (std::set<int64_t>{3, 4})) << "events 3, 4 and 5, of which 5 is no positive";
}

TEST(Objective, AnchorDecidesWhoseWindowHolds) {
  // From position 0 the last positive is a day and 10 s away, from the newest input a day.
  const std::vector<Event> events{{0, 1, false}, {10, 2, false}, {kDay + 10, 3, true}};
  const auto shared = pairs_of(events, 1, options_of("dense_all_action", "sequence_end"));
  ASSERT_EQ(shared.size(), 2U);
  const auto own = pairs_of(events, 1, options_of("dense_all_action", "position"));
  ASSERT_EQ(own.size(), 1U);
  EXPECT_EQ(own[0].position, 1);
}

TEST(Objective, EventsOfOneSecondNeverPredictEachOther) {
  const std::vector<Event> events{{5, 1, false}, {5, 2, true}, {6, 3, true}};
  const auto next = pairs_of(events, 0, options_of("next_action", "sequence_end"));
  ASSERT_EQ(next.size(), 1U);
  EXPECT_EQ(next[0].item, 3);
  EXPECT_EQ(pairs_of(events, 0, options_of("next_item", "sequence_end"))[0].item, 3);
  for (int64_t key = 0; key < 50; ++key) {
    const auto dense = pairs_of(events, 0, options_of("dense_all_action", "sequence_end"), key);
    ASSERT_EQ(dense.size(), 1U);
    EXPECT_EQ(dense[0].item, 3);
  }
}

TEST(Objective, RowWithoutPositiveHasNoPair) {
  TrainingRow row{7, timeline_of({{0, 1, false}, {1, 2, false}}), {0, 2, {}}, 3};
  for (const char* name : {"next_action", "sasrec", "all_action", "dense_all_action"})
    EXPECT_TRUE(make_pairs(training_batch({row}), options_of(name, "sequence_end")).empty());
}

TEST(Objective, SasrecWeighsTheNewestAsMuchAsAllOthers) {
  const std::vector<Event> events{{0, 1, true}, {1, 2, true}, {2, 3, true}, {3, 4, true}};
  const auto pairs = pairs_of(events, 2, options_of("sasrec", "sequence_end"));
  ASSERT_EQ(pairs.size(), 3U);
  EXPECT_EQ(pairs.back().position, 2);
  EXPECT_DOUBLE_EQ(pairs.back().weight, 0.5);
  EXPECT_DOUBLE_EQ(pairs[0].weight + pairs[1].weight, 0.5);
  for (size_t s = 0; s < pairs.size(); ++s) EXPECT_EQ(pairs[s].item, static_cast<int64_t>(s) + 2);
  const auto alone = pairs_of(events, 0, options_of("sasrec", "sequence_end"));
  ASSERT_EQ(alone.size(), 1U);
  EXPECT_DOUBLE_EQ(alone[0].weight, 1);
}

TEST(Objective, MaxLabelsCapsAndKeepsOneSetForAllPositions) {
  std::vector<Event> events;
  for (int64_t i = 0; i < 6; ++i) events.push_back({i, 100, false});
  for (int64_t i = 0; i < 20; ++i) events.push_back({10 + i, i, true});
  ObjectiveOptions options = options_of("all_action", "sequence_end");
  options.max_labels = 4;
  std::map<int64_t, double> counts;
  for (int64_t key = 0; key < 2000; ++key) {
    std::set<int64_t> items;
    const auto pairs = pairs_of(events, 5, options, key);
    ASSERT_EQ(pairs.size(), 4U);
    for (const Pair& pair : pairs) items.insert(pair.item), ++counts[pair.item];
    EXPECT_EQ(items.size(), 4U) << "drawn without replacement";
  }
  for (int64_t item = 0; item < 20; ++item) EXPECT_NEAR(counts[item], 400, 100) << item;

  options = options_of("dense_all_action", "sequence_end");
  options.max_labels = 2;
  for (int64_t key = 0; key < 200; ++key) {
    std::set<int64_t> items;
    for (const Pair& pair : pairs_of(events, 5, options, key)) items.insert(pair.item);
    EXPECT_LE(items.size(), 2U) << "all positions draw from the same two labels";
  }
}

TEST(Objective, DensePositionsAreDistinctUniformAndCapped) {
  std::vector<Event> events;
  for (int64_t i = 0; i < 8; ++i) events.push_back({i, 100, false});
  events.push_back({20, 1, true});
  ObjectiveOptions options = options_of("dense_all_action", "sequence_end");
  options.positions = 3;
  std::vector<double> counts(8);
  for (int64_t key = 0; key < 2000; ++key) {
    std::set<int64_t> positions;
    for (const Pair& pair : pairs_of(events, 7, options, key)) positions.insert(pair.position);
    EXPECT_EQ(positions.size(), 3U);
    for (const int64_t position : positions) ++counts[static_cast<size_t>(position)];
  }
  for (const double count : counts) EXPECT_NEAR(count, 750, 120);
}

// A row draws the same pairs wherever it sits: alone, in a large batch, beside longer rows.
TEST(Objective, DrawsDoNotDependOnTheBatch) {
  std::vector<TrainingRow> rows;
  const ObjectiveOptions options = [] {
    ObjectiveOptions dense = options_of("dense_all_action", "position");
    dense.positions = 3;
    return dense;
  }();
  for (int64_t seed = 0; std::ssize(rows) < 12; ++seed) {
    const auto events = oracle::random_timeline(seed, kWindow);
    const auto newest = oracle::allowed_newest(events, {kWindow});
    if (newest.empty()) continue;
    rows.push_back(row_of(events, *newest.rbegin(), window_spec(options, 10, 0), 900 + seed));
  }
  const auto together = make_pairs(training_batch(rows), options);
  std::vector<Pair> alone;
  for (size_t b = 0; b < rows.size(); ++b)
    for (Pair pair : make_pairs(training_batch({rows[b]}), options)) {
      pair.row = static_cast<int64_t>(b);
      alone.push_back(pair);
    }
  ASSERT_EQ(together.size(), alone.size());
  ASSERT_GT(together.size(), 12U);
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(together[i].row, alone[i].row);
    EXPECT_EQ(together[i].position, alone[i].position);
    EXPECT_EQ(together[i].item, alone[i].item);
    EXPECT_DOUBLE_EQ(together[i].weight, alone[i].weight);
  }
}

TEST(Objective, WindowSpecAsksForLabelsInsideOnlyWhereNeeded) {
  const auto inside = [](const char* name, const char* anchor) {
    return window_spec(options_of(name, anchor), 5, 0).labels_in_input;
  };
  EXPECT_FALSE(inside("next_action", "sequence_end"));
  EXPECT_TRUE(inside("sasrec", "sequence_end"));
  EXPECT_FALSE(inside("all_action", "position"));
  EXPECT_FALSE(inside("dense_all_action", "sequence_end"));
  EXPECT_TRUE(inside("dense_all_action", "position"));
  EXPECT_EQ(window_spec(options_of("sasrec", "sequence_end"), 5, 0).window_seconds, kDay);
  EXPECT_EQ(window_spec(options_of("sasrec", "sequence_end"), 5, 0).max_length, 5);
}

TEST(Objective, RecentDaysBoundTheNewestInput) {
  ObjectiveOptions options;
  EXPECT_LT(window_spec(options, 5, 10 * kDay).earliest, -kDay * 100'000);
  options.recent_days = 2.5;
  EXPECT_EQ(window_spec(options, 5, 10 * kDay).earliest, 7 * kDay + kDay / 2);
}

TEST(Objective, SampleEndSaysWhetherTheNewestInputIsDrawn) {
  ObjectiveOptions options;
  EXPECT_EQ(window_spec(options, 5, 0).end, SampleEnd::kUniform);
  options.sample_end = SampleEnd::kLatest;
  EXPECT_EQ(window_spec(options, 5, 0).end, SampleEnd::kLatest);
}

TEST(Objective, UnknownNameIsAnError) {
  TrainingRow row{7, timeline_of({{0, 1, false}}), {0, 1, {}}, 3};
  EXPECT_THROW(make_pairs(training_batch({row}), options_of("bpr", "sequence_end")),
               std::invalid_argument);
}

}  // namespace
}  // namespace pinnerformer
