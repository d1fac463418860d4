// From a timeline to one training sample: which events are inputs, which positives are labels
// (paper sections 3 and 4). Pure: a function of the timeline and the key of the draw.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "dataloader/base/random.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"

namespace pinnerformer {

struct WindowSpec {
  int64_t max_length = 256;      // M
  int64_t window_seconds = 0;    // K in seconds; not used with window_events
  bool labels_in_input = false;  // labels may also lie between inputs (anchor `position`, SASRec)
  int64_t earliest = std::numeric_limits<int64_t>::min();  // the newest input is not before it
  SampleEnd end = SampleEnd::kUniform;
  // Of the positives after the newest input only those of the first later second are labels, and
  // there is no K.
  bool next_only = false;
  // W > 0: instead of K a window is the next W events of the timeline, of any kind, that come after
  // the second of its anchor.
  int64_t window_events = 0;
};

// A positive event after an input.
struct Label {
  int64_t item = 0;
  int64_t time = 0;
  int64_t event = 0;  // index in the window: 0 is the first input, >= length is after the inputs
};

// One user's inputs, timeline[first, end), and the labels, in time order.
struct Window {
  int64_t first = 0;
  int64_t end = 0;
  std::vector<Label> labels;
};

// Chooses the newest input among the events with a positive p in T < p.time <= T + K, T >= earliest
// being that event's time, as spec.end says; and takes up to M inputs. Labels: all positives after
// the newest input in the timeline's order (with labels_in_input: after the first one) up to time T
// + K; an objective that goes by time drops those that share T. `positive[i]` marks event i.
// With window_events the W events after T stand for those in (T, T + K]. Nothing where no event has
// such a positive.
[[nodiscard]] std::optional<Window> draw_window(const Timeline& timeline,
                                                const std::vector<uint8_t>& positive,
                                                const WindowSpec& spec, KeyedRandom& random);

}  // namespace pinnerformer
