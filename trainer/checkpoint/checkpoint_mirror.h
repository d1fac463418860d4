// Keeps copies of a run's checkpoints in a second directory (checkpoint.mirror). A thread of its
// own copies, so that neither a step nor the next save waits for the second disk.
#pragma once
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "trainer/options.h"

namespace pinnerformer {

// An error of the second directory never becomes one of the training: it is a note, and the next
// checkpoint is tried again. Only the coordinator has one. Not thread-safe.
class CheckpointMirror {
 public:
  // Copies go to options.mirror, where as many are kept as of the run itself.
  explicit CheckpointMirror(CheckpointOptions options);
  // The destructor waits for the copy under way.

  // Copies the checkpoint `path` once the copy under way has ended. Of several that wait, only the
  // last is copied.
  void add(const std::string& path);
  // Starts what waits. What has happened since the last call, a line each for the log; waits at
  // most `patience` for the copy under way.
  [[nodiscard]] std::vector<std::string> advance(std::chrono::milliseconds patience);
  [[nodiscard]] bool busy() const { return in_flight_.valid() || waiting_; }

 private:
  CheckpointOptions options_;
  std::optional<std::string> waiting_;
  std::future<std::string> in_flight_;
};

}  // namespace pinnerformer
