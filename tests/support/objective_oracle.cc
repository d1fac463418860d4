// The definitions of paper sections 3 and 6, one loop each.
#include "tests/support/objective_oracle.h"

#include <random>

namespace pinnerformer::oracle {
namespace {

// Whether event i is in the window of event `anchor`, by going through all events between them.
bool within(const std::vector<Event>& timeline, int64_t anchor, int64_t i,
            const LabelReach& reach) {
  const auto time = [&](int64_t event) { return timeline[static_cast<size_t>(event)].time; };
  if (time(i) <= time(anchor)) return false;
  if (reach.events == 0) return time(i) <= time(anchor) + reach.seconds;
  int64_t place = 0;  // of event i among those of later seconds
  for (int64_t j = 0; j <= i; ++j) place += time(j) > time(anchor) ? 1 : 0;
  return place <= reach.events;
}

}  // namespace

AllowedPairs allowed_pairs(const std::vector<Event>& timeline, int64_t first, int64_t newest,
                           const std::string& objective, const std::string& anchor,
                           const LabelReach& reach) {
  const auto at = [&](int64_t i) -> const Event& { return timeline[static_cast<size_t>(i)]; };
  const auto size = std::ssize(timeline);
  // No label lies beyond the window of the newest input.
  const auto known = [&](int64_t i) {
    return at(i).positive && (at(i).time <= at(newest).time || within(timeline, newest, i, reach));
  };
  AllowedPairs pairs;
  for (int64_t s = first; s <= newest; ++s) {
    if (objective == "next_action" || objective == "sasrec" || objective == "next_item") {
      if (objective == "next_action" && s != newest) continue;
      const auto later = [&](int64_t i) {
        const bool label = objective == "next_item" ? at(i).positive : known(i);
        return label && at(i).time > at(s).time;
      };
      int64_t next = 0;
      while (next < size && !later(next)) ++next;
      for (int64_t i = next; i < size; ++i)  // the positives of one second are a set
        if (later(i) && at(i).time == at(next).time) pairs.insert({s, at(i).item});
      continue;
    }
    if (objective == "all_action" && s != newest) continue;
    const int64_t from = objective == "dense_all_action" && anchor == "position" ? s : newest;
    for (int64_t i = 0; i < size; ++i)
      if (known(i) && within(timeline, from, i, reach)) pairs.insert({s, at(i).item});
  }
  return pairs;
}

std::set<int64_t> allowed_newest(const std::vector<Event>& timeline, const LabelReach& reach) {
  std::set<int64_t> newest;
  for (int64_t i = 0; i < std::ssize(timeline); ++i)
    for (int64_t j = 0; j < std::ssize(timeline); ++j)
      if (timeline[static_cast<size_t>(j)].positive && within(timeline, i, j, reach))
        newest.insert(i);
  return newest;
}

std::vector<Event> random_timeline(int64_t seed, int64_t window_seconds) {
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  std::vector<Event> timeline(static_cast<size_t>(1 + below(10)));
  const int64_t gaps[] = {
      0, 0, 1, window_seconds / 3, window_seconds - 1, window_seconds, window_seconds + 1};
  int64_t time = 1'500'000'000;
  const int64_t positives_in_ten = 1 + below(9);
  for (Event& event : timeline) {
    time += gaps[below(7)];
    event = {time, below(6), below(10) < positives_in_ten};
  }
  return timeline;
}

}  // namespace pinnerformer::oracle
