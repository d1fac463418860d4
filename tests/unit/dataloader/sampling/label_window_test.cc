// From a timeline to one sample: every window that may be drawn is, and no other.
#include "dataloader/sampling/label_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/support/objective_oracle.h"
#include "tests/support/training_rows.h"

namespace pinnerformer {
namespace {

using oracle::Event;

constexpr int64_t kWindow = 1000;

std::optional<Window> draw(const std::vector<Event>& events, const WindowSpec& spec, int64_t key) {
  KeyedRandom random(RandomStream::kWindow, {key});
  return draw_window(timeline_of(events), positives_of(events), spec, random);
}

// The labels by their definition: positives after `from` in the timeline's order up to T + K.
std::vector<Label> labels_after(const std::vector<Event>& events, const Window& window,
                                int64_t from) {
  std::vector<Label> labels;
  const int64_t until = events[static_cast<size_t>(window.end - 1)].time + kWindow;
  for (int64_t i = from + 1; i < std::ssize(events); ++i) {
    const Event& event = events[static_cast<size_t>(i)];
    if (event.positive && event.time <= until)
      labels.push_back({event.item, event.time, i - window.first});
  }
  return labels;
}

void expect_labels(const std::vector<Label>& found, const std::vector<Label>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].item, expected[i].item);
    EXPECT_EQ(found[i].time, expected[i].time);
    EXPECT_EQ(found[i].event, expected[i].event);
  }
}

TEST(LabelWindow, DrawsExactlyWhatTheDefinitionAllows) {
  for (int64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    const auto events = oracle::random_timeline(seed, kWindow);
    const std::set<int64_t> allowed = oracle::allowed_newest(events, {kWindow});
    const bool labels_in_input = seed % 2 == 0;
    const int64_t max_length = 1 + seed % 5;
    std::set<int64_t> drawn;
    for (int64_t key = 0; key < 300; ++key) {
      const auto window = draw(events, {max_length, kWindow, labels_in_input}, key);
      ASSERT_EQ(window.has_value(), !allowed.empty());
      if (!window) break;
      drawn.insert(window->end - 1);
      EXPECT_EQ(window->first, std::max<int64_t>(0, window->end - max_length));
      expect_labels(
          window->labels,
          labels_after(events, *window, labels_in_input ? window->first : window->end - 1));
    }
    EXPECT_EQ(drawn, allowed);
  }
}

TEST(LabelWindow, LatestTakesTheLastOfTheAllowedWhateverTheKey) {
  int64_t some = 0;
  for (int64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    const auto events = oracle::random_timeline(seed, kWindow);
    const std::set<int64_t> allowed = oracle::allowed_newest(events, {kWindow});
    WindowSpec spec{4, kWindow, false};
    spec.end = SampleEnd::kLatest;
    for (int64_t key = 0; key < 3; ++key) {
      const auto window = draw(events, spec, key);
      ASSERT_EQ(window.has_value(), !allowed.empty());
      if (!window) break;
      EXPECT_EQ(window->end - 1, *allowed.rbegin());
      expect_labels(window->labels, labels_after(events, *window, window->end - 1));
      ++some;
    }
  }
  EXPECT_GT(some, 500);
}

// The positives after the inputs among the next events after the newest input's second; those that
// share it come by order and are left to the objective.
TEST(LabelWindow, AWindowOfEventsIsThatOfTheDefinition) {
  int64_t some = 0;
  for (int64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    const auto events = oracle::random_timeline(seed, kWindow);
    WindowSpec spec{4, /*window_seconds=*/0, false};
    spec.window_events = 1 + seed % 4;
    const std::set<int64_t> allowed =
        oracle::allowed_newest(events, {.seconds = 0, .events = spec.window_events});
    std::set<int64_t> drawn;
    for (int64_t key = 0; key < 200; ++key) {
      const auto window = draw(events, spec, key);
      ASSERT_EQ(window.has_value(), !allowed.empty());
      if (!window) break;
      drawn.insert(window->end - 1);
      const int64_t second = events[static_cast<size_t>(window->end - 1)].time;
      std::vector<Label> expected;
      int64_t later = 0;  // events after that second
      for (int64_t i = window->end; i < std::ssize(events); ++i) {
        const Event& event = events[static_cast<size_t>(i)];
        if (event.time > second && ++later > spec.window_events) break;
        if (event.positive) expected.push_back({event.item, event.time, i - window->first});
      }
      expect_labels(window->labels, expected);
      some += std::ssize(expected);
    }
    EXPECT_EQ(drawn, allowed);
  }
  EXPECT_GT(some, 10'000);
}

TEST(LabelWindow, AWindowOfMoreEventsThanThereAreIsTheRest) {
  WindowSpec spec{4, /*window_seconds=*/0, false};
  spec.window_events = std::numeric_limits<int64_t>::max();
  const auto window = draw({{0, 1, false}, {1, 2, true}, {kWindow * 99, 3, true}}, spec, 0);
  ASSERT_TRUE(window);
  EXPECT_EQ(std::ssize(window->labels), window->end == 1 ? 2 : 1);
}

// Half of the samples are the last one; the others are full and drawn evenly.
TEST(LabelWindow, CoverTakesTheLastOrAFullSample) {
  std::vector<Event> events;
  for (int64_t i = 0; i < 9; ++i) events.push_back({100 * i, i, true});
  WindowSpec spec{4, kWindow, false};
  spec.end = SampleEnd::kCover;
  std::vector<double> counts(9);
  constexpr int64_t kDraws = 8000;
  for (int64_t key = 0; key < kDraws; ++key)
    ++counts[static_cast<size_t>(draw(events, spec, key)->end - 1)];
  for (const size_t i : {size_t{0}, size_t{1}, size_t{2}, size_t{8}}) EXPECT_EQ(counts[i], 0) << i;
  for (size_t i = 3; i < 7; ++i) EXPECT_NEAR(counts[i], 800, 120) << i;
  EXPECT_NEAR(counts[7], 4800, 200);
  spec.max_length = 20;  // no sample is full: the last one
  EXPECT_EQ(draw(events, spec, 5)->end - 1, 7);
}

// An event counts for the time until the next one, the earlier of two in one second for none.
TEST(LabelWindow, MomentTakesAnEventAsOftenAsTimePassesAfterIt) {
  const std::vector<Event> events{{0, 0, true},   {60, 1, true},   {60, 2, true},    {100, 3, true},
                                  {700, 4, true}, {800, 5, false}, {99'000, 6, true}};
  WindowSpec spec{4, /*window_seconds=*/700, false};
  spec.end = SampleEnd::kMoment;
  std::vector<double> counts(events.size());
  constexpr int64_t kDraws = 7000;
  for (int64_t key = 0; key < kDraws; ++key)
    ++counts[static_cast<size_t>(draw(events, spec, key)->end - 1)];
  const std::vector<double> seconds{60, 0, 40, 600, 0, 0, 0};
  for (size_t i = 0; i < events.size(); ++i) EXPECT_NEAR(counts[i], 10 * seconds[i], 120) << i;
}

// Several disjoint ranges of possible ends, each with its share of the time.
TEST(LabelWindow, MomentDrawsAllPossibleEndsThatTimePassesAfter) {
  for (int64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    const auto events = oracle::random_timeline(seed, kWindow);
    std::set<int64_t> expected;
    for (const int64_t end : oracle::allowed_newest(events, {kWindow}))
      if (events[static_cast<size_t>(end)].time < events[static_cast<size_t>(end) + 1].time)
        expected.insert(end);
    WindowSpec spec{4, kWindow, false};
    spec.end = SampleEnd::kMoment;
    std::set<int64_t> drawn;
    for (int64_t key = 0; key < 300 && !expected.empty(); ++key)
      drawn.insert(draw(events, spec, key)->end - 1);
    for (const int64_t end : drawn) EXPECT_TRUE(expected.contains(end)) << end;
    EXPECT_EQ(drawn.empty(), expected.empty());
  }
}

TEST(LabelWindow, NextOnlyLabelsTheFirstLaterSecondHoweverFar) {
  const std::vector<Event> events{
      {0, 1, false},           {kWindow * 9, 2, true},   {kWindow * 20, 3, true},
      {kWindow * 20, 4, true}, {kWindow * 20, 5, false}, {kWindow * 90, 6, true}};
  WindowSpec spec{4, /*window_seconds=*/0, false};
  spec.next_only = true;
  std::map<int64_t, std::set<int64_t>> labels;  // by newest input
  for (int64_t key = 0; key < 200; ++key) {
    const auto window = draw(events, spec, key);
    ASSERT_TRUE(window);
    for (const Label& label : window->labels) labels[window->end - 1].insert(label.item);
  }
  const std::map<int64_t, std::set<int64_t>> expected{
      {0, {2}}, {1, {3, 4}}, {2, {4, 6}}, {3, {6}}, {4, {6}}};
  EXPECT_EQ(labels, expected) << "item 4 shares its second with input 2: an objective drops it";
}

TEST(LabelWindow, NewestInputIsUniform) {
  std::vector<Event> events;
  for (int64_t i = 0; i < 9; ++i) events.push_back({100 * i, i, true});
  std::vector<double> counts(9);
  constexpr int64_t kDraws = 8000;
  for (int64_t key = 0; key < kDraws; ++key)
    ++counts[static_cast<size_t>(draw(events, {4, kWindow, false}, key)->end - 1)];
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(counts[i], 1000, 150) << i;
  EXPECT_EQ(counts[8], 0) << "nothing comes after the last event";
}

TEST(LabelWindow, NewestInputIsNotBeforeTheEarliest) {
  std::vector<Event> events;
  for (int64_t i = 0; i < 9; ++i) events.push_back({100 * i, i, true});
  WindowSpec spec{4, kWindow, false};
  spec.earliest = 600;
  std::set<int64_t> drawn;
  for (int64_t key = 0; key < 100; ++key) {
    const auto window = draw(events, spec, key);
    drawn.insert(window->end - 1);
    EXPECT_EQ(window->first, window->end - 4) << "earlier events remain inputs";
  }
  EXPECT_EQ(drawn, (std::set<int64_t>{6, 7}));
  spec.earliest = 800;
  EXPECT_FALSE(draw(events, spec, 0)) << "nothing comes after the last event";
}

TEST(LabelWindow, EndOfTheWindowIsInAndOneSecondLaterIsOut) {
  EXPECT_TRUE(draw({{0, 1, false}, {kWindow, 2, true}}, {4, kWindow, false}, 0));
  EXPECT_FALSE(draw({{0, 1, false}, {kWindow + 1, 2, true}}, {4, kWindow, false}, 0));
  const auto window =
      draw({{0, 1, false}, {5, 2, true}, {kWindow + 1, 3, true}}, {4, kWindow, false}, 0);
  ASSERT_TRUE(window);
  if (window->end == 1) {
    EXPECT_EQ(window->labels.size(), 1U);
  }
}

TEST(LabelWindow, EqualTimesAreNoFuture) {
  EXPECT_FALSE(draw({{7, 1, true}, {7, 2, true}, {7, 3, true}}, {4, kWindow, false}, 0));
  // An event of the same second is a label only by order; an objective by time drops it.
  for (int64_t key = 0; key < 20; ++key) {
    const auto window = draw({{7, 1, false}, {7, 2, true}, {9, 3, true}}, {4, kWindow, false}, key);
    ASSERT_TRUE(window);
    EXPECT_EQ(std::ssize(window->labels), window->end == 1 ? 2 : 1);
  }
}

TEST(LabelWindow, NothingToDrawGivesNothing) {
  EXPECT_FALSE(draw({}, {4, kWindow, false}, 0));
  EXPECT_FALSE(draw({{5, 1, true}}, {4, kWindow, false}, 0));
  EXPECT_FALSE(draw({{5, 1, true}, {6, 2, false}}, {4, kWindow, true}, 0));
  EXPECT_FALSE(draw({{5, 1, false}, {6, 2, false}}, {4, kWindow, true}, 0));
}

TEST(LabelWindow, IsAFunctionOfItsKey) {
  const auto events = oracle::random_timeline(12, kWindow);
  for (int64_t key = 0; key < 50; ++key) {
    const auto one = draw(events, {3, kWindow, true}, key);
    const auto two = draw(events, {3, kWindow, true}, key);
    ASSERT_EQ(one.has_value(), two.has_value());
    if (!one) continue;
    EXPECT_EQ(one->first, two->first);
    EXPECT_EQ(one->end, two->end);
  }
}

}  // namespace
}  // namespace pinnerformer
