// Event files of TensorBoard: one record per event, each an `Event` message of protocol buffers
// between its length and two masked CRC-32C.
//
// The messages are encoded here and not by the protobuf library. LibTorch contains another version
// of it, and its include directory the headers of that version; a program must not mix two. The
// five messages that are needed come to a few lines, and their definitions would have to be copied
// from TensorBoard. Source: tensorflow/core/util/event.proto,
// tensorflow/core/framework/summary.proto, and tensorflow/core/lib/io/record_writer.h for the
// framing.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pinnerformer {

// The bytes of an Event. `time`: seconds since 1970.
[[nodiscard]] std::string version_event(double time);  // the first of a file
// Tells a running TensorBoard that steps from `step` on are taken again.
[[nodiscard]] std::string start_event(double time, int64_t step);
[[nodiscard]] std::string scalars_event(double time, int64_t step,
                                        const std::vector<std::pair<std::string, double>>& values);
// `markdown` is UTF-8.
[[nodiscard]] std::string text_event(double time, int64_t step, const std::string& tag,
                                     const std::string& markdown);

// An event as it stands in a file.
[[nodiscard]] std::string framed(std::string_view event);

struct EventList {
  std::string content;  // framed events
  int64_t count = 0;
};
// The events of an event file whose step is at most `last_step`. Ends at the first event that is
// damaged, was cut short by a crash, or is none of the above.
[[nodiscard]] EventList events_up_to(std::string_view content, int64_t last_step);

}  // namespace pinnerformer
