// Writes checkpoints in a thread of its own. A training step waits only for a copy into memory.
#pragma once
#include <chrono>
#include <future>
#include <optional>
#include <string>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/options.h"

namespace pinnerformer {

// A save that is complete.
struct FinishedSave {
  std::string path;
  int64_t bytes = 0;
  double seconds = 0;  // from the copy to the last directory entry on the disk
};

// At most one save is in flight. Only the coordinator has one. Not thread-safe.
class CheckpointWriter {
 public:
  // Checkpoints of about `bytes` go to `directory`; older ones are removed after each save as
  // `options` say.
  CheckpointWriter(std::string directory, CheckpointOptions options, int64_t bytes);
  // The destructor waits for the save in flight; its error, if any, is lost.

  [[nodiscard]] bool busy() const { return in_flight_.valid(); }
  // Copies the tensors to host memory, writes the streamed files, and returns. Must not be busy.
  // The memory of the copy is reused by the next save.
  void start(const Checkpoint& checkpoint);
  // The save in flight if it ends within `patience`. Throws the error of a save that failed, an
  // IoError; transient errors have been retried.
  [[nodiscard]] std::optional<FinishedSave> finished(std::chrono::milliseconds patience);
  // Duration of the last save; before the first one an estimate from the size.
  [[nodiscard]] double expected_seconds() const { return expected_seconds_; }

 private:
  [[nodiscard]] FinishedSave write();

  std::string directory_;
  CheckpointOptions options_;
  Checkpoint copy_;
  std::optional<CheckpointDraft> draft_;  // of the save in flight, where files are streamed
  double expected_seconds_;
  std::future<FinishedSave> in_flight_;  // last: its destructor waits for write()
};

}  // namespace pinnerformer
