// Output for a thread that must never wait for another thread or for a reader.
#pragma once
#include <chrono>
#include <string_view>

namespace pinnerformer {

// Writes to a descriptor past all streams, so that no lock of a stream is taken. Waits for a full
// pipe or terminal no longer than `patience`, then drops the rest of the text. Leaves the
// descriptor's flags alone, which other processes may share. A closed reader raises no SIGPIPE.
void write_without_blocking(int descriptor, std::string_view text,
                            std::chrono::milliseconds patience = std::chrono::milliseconds(500));

}  // namespace pinnerformer
