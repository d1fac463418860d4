#include "dataloader/sampling/label_window.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace pinnerformer {
namespace {

using Indices = std::vector<int64_t>;  // of events in the timeline, ascending

Indices indices_of(const std::vector<uint8_t>& positive) {
  Indices indices;
  for (size_t i = 0; i < positive.size(); ++i)
    if (positive[i]) indices.push_back(static_cast<int64_t>(i));
  return indices;
}

struct Range {
  int64_t first = 0;
  int64_t end = 0;
};

// The first second from which a window reaches this positive.
int64_t first_anchor(const std::vector<int64_t>& time, int64_t positive, const WindowSpec& spec) {
  constexpr int64_t kAny = std::numeric_limits<int64_t>::min();
  if (spec.next_only) return kAny;
  if (spec.window_events == 0) return time[static_cast<size_t>(positive)] - spec.window_seconds;
  // Of the events after the anchor's second it is the W-th at most: the W-th before it is none.
  const int64_t before = positive - spec.window_events;
  return before < 0 ? kAny : time[static_cast<size_t>(before)];
}

// The events T >= earliest with a positive in (T, T + K], as disjoint ranges, newest first.
// A positive at time p makes every event in [p - K, p) possible. The earliest positive among these
// extends the range furthest, so the search continues from there. This takes one binary search per
// K seconds instead of a test of every event.
std::vector<Range> possible_ends(const std::vector<int64_t>& time, const Indices& positives,
                                 const WindowSpec& spec) {
  const auto first_at = [&](int64_t from) {  // first event at or after this second
    return std::lower_bound(time.begin(), time.end(), from) - time.begin();
  };
  std::vector<Range> ranges;
  auto left = positives.end();  // positives before it are not yet covered
  while (left != positives.begin() && time[static_cast<size_t>(*(left - 1))] > spec.earliest) {
    const int64_t end = first_at(time[static_cast<size_t>(*(left - 1))]);
    auto reached = left - 1;
    int64_t begin = 0;
    while (true) {
      begin = first_at(std::max(first_anchor(time, *reached, spec), spec.earliest));
      const auto furthest = std::lower_bound(positives.begin(), reached, begin);
      if (furthest == reached) break;
      reached = furthest;
    }
    if (begin < end) ranges.push_back({begin, end});
    left = reached;
  }
  return ranges;
}

int64_t count_events(const std::vector<Range>& ranges, int64_t least_index) {
  int64_t count = 0;
  for (const Range& range : ranges)
    count += std::max<int64_t>(0, range.end - std::max(range.first, least_index));
  return count;
}

// The n-th of the events in the ranges, counted from the newest.
int64_t nth_newest(const std::vector<Range>& ranges, int64_t n) {
  for (const Range& range : ranges) {
    if (n < range.end - range.first) return range.end - 1 - n;
    n -= range.end - range.first;
  }
  throw std::logic_error("fewer events than were counted");
}

// The newest event at a moment drawn uniformly: each counts for the seconds until the next one.
int64_t draw_by_moment(const std::vector<int64_t>& times, const std::vector<Range>& ranges,
                       KeyedRandom& random) {
  const auto begin = [&](const Range& range) { return times[static_cast<size_t>(range.first)]; };
  const auto seconds = [&](const Range& range) {  // a positive comes behind the range
    return times[static_cast<size_t>(range.end)] - begin(range);
  };
  int64_t all = 0;
  for (const Range& range : ranges) all += seconds(range);
  int64_t drawn = random.below(all);
  for (const Range& range : ranges) {
    if (drawn < seconds(range))
      return std::ranges::upper_bound(times, begin(range) + drawn) - times.begin() - 1;
    drawn -= seconds(range);
  }
  throw std::logic_error("fewer seconds than were counted");
}

// One of the possible ends, as spec.end says.
int64_t draw_newest(const std::vector<int64_t>& times, const std::vector<Range>& ranges,
                    const WindowSpec& spec, KeyedRandom& random) {
  const auto draw = [&](int64_t count) { return nth_newest(ranges, random.below(count)); };
  switch (spec.end) {
    case SampleEnd::kLatest:
      return nth_newest(ranges, 0);
    case SampleEnd::kUniform:
      return draw(count_events(ranges, 0));
    case SampleEnd::kCover: {
      const int64_t full = count_events(ranges, spec.max_length - 1);
      return full == 0 || random.below(2) == 0 ? nth_newest(ranges, 0) : draw(full);
    }
    case SampleEnd::kMoment:
      return draw_by_moment(times, ranges, random);
  }
  throw std::logic_error("unknown end of a sample");
}

// The event behind the last one that can be a label of a sample with this newest input.
int64_t end_of_labels(const std::vector<int64_t>& times, const Indices& positives, int64_t newest,
                      const WindowSpec& spec) {
  const int64_t time = times[static_cast<size_t>(newest)];
  const auto after = [&](int64_t second) {  // the first event after this second
    return std::ranges::upper_bound(times, second) - times.begin();
  };
  if (spec.window_events > 0)
    return after(time) + std::min(std::ssize(times) - after(time), spec.window_events);
  if (!spec.next_only) return after(time + spec.window_seconds);
  const auto later = std::ranges::upper_bound(
      positives, time, {}, [&](int64_t event) { return times[static_cast<size_t>(event)]; });
  return after(times[static_cast<size_t>(*later)]);
}

}  // namespace

std::optional<Window> draw_window(const Timeline& timeline, const std::vector<uint8_t>& positive,
                                  const WindowSpec& spec, KeyedRandom& random) {
  const Indices positives = indices_of(positive);
  const std::vector<Range> ends = possible_ends(timeline.time, positives, spec);
  if (ends.empty()) return std::nullopt;
  const int64_t newest = draw_newest(timeline.time, ends, spec, random);

  Window window;
  window.end = newest + 1;
  window.first = std::max<int64_t>(0, window.end - spec.max_length);
  const auto& time = timeline.time;
  const int64_t begin = (spec.labels_in_input ? window.first : newest) + 1;
  const int64_t end = end_of_labels(time, positives, newest, spec);
  for (auto p = std::lower_bound(positives.begin(), positives.end(), begin);
       p != positives.end() && *p < end; ++p) {
    const auto i = static_cast<size_t>(*p);
    window.labels.push_back({timeline.item[i], time[i], *p - window.first});
  }
  return window;
}

}  // namespace pinnerformer
