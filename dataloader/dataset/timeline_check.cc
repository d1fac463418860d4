// Each column is looked at on its own: loops the compiler makes into vector instructions, so that a
// loader can afford them for all it reads.
#include "dataloader/dataset/timeline_check.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "dataloader/dataset/dataset_format.h"

namespace pinnerformer {
namespace {

template <class Value, class Good>
bool all_good(const std::vector<Value>& values, const Good& good) {
  bool all = true;
  for (const Value value : values) all &= good(value);
  return all;
}

template <class Value, class Good>
std::string first_bad(const char* column, const std::vector<Value>& values, const Good& good,
                      const std::string& what) {
  const auto bad = std::find_if_not(values.begin(), values.end(), good);
  return std::string(column) + ", event " + std::to_string(bad - values.begin()) +
         " of this user: " + what + std::to_string(*bad);
}

auto below(int64_t limit) {
  return [limit](auto value) { return value >= 0 && value < limit; };
}

bool is_duration(float seconds) {
  return std::isnan(seconds) || (seconds >= 0 && seconds < INFINITY);
}

}  // namespace

std::string timeline_fault(const Timeline& timeline, const TimelineLimits& limits) {
  if (!all_good(timeline.item, below(limits.items)))
    return first_bad("/event/item", timeline.item, below(limits.items), "no such item ");
  if (!all_good(timeline.action, below(limits.actions)))
    return first_bad("/event/action", timeline.action, below(limits.actions), "no such action ");
  if (!all_good(timeline.surface, below(limits.surfaces)))
    return first_bad("/event/surface", timeline.surface, below(limits.surfaces),
                     "no such surface ");
  const auto back = std::is_sorted_until(timeline.time.begin(), timeline.time.end());
  if (back != timeline.time.end())
    return "/event/time, event " + std::to_string(back - timeline.time.begin()) +
           " of this user: earlier than the event before it";
  // Ascending: the first and the last speak for all.
  for (const size_t event : {size_t{0}, timeline.time.size() - 1}) {
    if (timeline.time.empty() || is_storable_time(timeline.time[event])) continue;
    return "/event/time, event " + std::to_string(event) + " of this user: expected " +
           kStorableTimes + ", found " + std::to_string(timeline.time[event]);
  }
  if (!all_good(timeline.duration, is_duration))
    return first_bad("/event/duration", timeline.duration, is_duration,
                     "expected 0 or more, or NaN, found ");
  return "";
}

}  // namespace pinnerformer
