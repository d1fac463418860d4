// Which pairs an objective may draw, enumerated straight from its definition in loops over all
// positions and all events, sharing nothing with the code under test.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace pinnerformer::oracle {

struct Event {
  int64_t time = 0;
  int64_t item = 0;
  bool positive = false;
};

// (position in the whole timeline, item)
using AllowedPairs = std::set<std::pair<int64_t, int64_t>>;

// What a label window holds: the events of so many seconds after the anchor's, or so many events.
struct LabelReach {
  int64_t seconds = 0;
  int64_t events = 0;  // 0: by seconds
};

// The inputs are timeline[first, newest], all positives of the rest are known.
[[nodiscard]] AllowedPairs allowed_pairs(const std::vector<Event>& timeline, int64_t first,
                                         int64_t newest, const std::string& objective,
                                         const std::string& anchor, const LabelReach& reach);

// Events that can be the newest input: their window has a positive.
[[nodiscard]] std::set<int64_t> allowed_newest(const std::vector<Event>& timeline,
                                               const LabelReach& reach);

// A short timeline with ties in time, gaps around the window's length and few items.
[[nodiscard]] std::vector<Event> random_timeline(int64_t seed, int64_t window_seconds);

}  // namespace pinnerformer::oracle
