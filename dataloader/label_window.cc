#include "dataloader/label_window.h"

#include <algorithm>

namespace pinnerformer {
namespace {

// Events from `earliest` on with a positive in (T, T + K]. Walks backwards with the next one in
// hand.
std::vector<int64_t> possible_ends(const Timeline& timeline, const std::vector<uint8_t>& positive,
                                   const WindowSpec& spec) {
  std::vector<int64_t> ends;
  std::optional<int64_t> next_positive;   // earliest positive strictly later than the event
  int64_t later_begin = timeline.size();  // events from here on are strictly later
  for (int64_t i = timeline.size(); i-- > 0;) {
    const int64_t now = timeline.time[static_cast<size_t>(i)];
    if (now < spec.earliest) break;
    while (later_begin > i + 1 && timeline.time[static_cast<size_t>(later_begin - 1)] > now) {
      --later_begin;
      if (positive[static_cast<size_t>(later_begin)])
        next_positive = timeline.time[static_cast<size_t>(later_begin)];
    }
    if (next_positive && *next_positive <= now + spec.window_seconds) ends.push_back(i);
  }
  return ends;
}

}  // namespace

std::optional<Window> draw_window(const Timeline& timeline, const std::vector<uint8_t>& positive,
                                  const WindowSpec& spec, KeyedRandom& random) {
  const std::vector<int64_t> ends = possible_ends(timeline, positive, spec);
  if (ends.empty()) return std::nullopt;
  const int64_t newest = ends[static_cast<size_t>(random.below(static_cast<int64_t>(ends.size())))];

  Window window;
  window.end = newest + 1;
  window.first = std::max<int64_t>(0, window.end - spec.max_length);
  const auto& time = timeline.time;
  const int64_t until = time[static_cast<size_t>(newest)] + spec.window_seconds;
  const int64_t begin = (spec.labels_in_input ? window.first : newest) + 1;
  const int64_t end = std::upper_bound(time.begin() + begin, time.end(), until) - time.begin();
  for (int64_t i = begin; i < end; ++i)
    if (positive[static_cast<size_t>(i)])
      window.labels.push_back(
          {timeline.item[static_cast<size_t>(i)], time[static_cast<size_t>(i)], i - window.first});
  return window;
}

}  // namespace pinnerformer
