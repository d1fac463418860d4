// Saves behind the training: the step pays for a copy into memory, the disk works on its own time.
#pragma once
#include <chrono>
#include <future>
#include <optional>
#include <string>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/options.h"

namespace pinnerformer {

// A save that has come to its end.
struct FinishedSave {
  std::string path;
  int64_t bytes = 0;
  double seconds = 0;  // from the copy to the last directory entry on the disk
};

// At most one save is in flight. The coordinator rank has one; not thread-safe.
class CheckpointWriter {
 public:
  // Checkpoints of about `bytes` go to `directory`; older ones are removed after each save as
  // `options` say.
  CheckpointWriter(std::string directory, CheckpointOptions options, int64_t bytes);
  // The destructor waits for the save in flight; its error, if any, is lost.

  [[nodiscard]] bool busy() const { return in_flight_.valid(); }
  // Copies the tensors, from whatever device, writes the streamed files, and returns; must not be
  // busy. The memory of the copy is kept for the next save.
  void start(const Checkpoint& checkpoint);
  // The save in flight, once it has ended: waits for that at most `patience`. A save that failed
  // throws its error, an IoError, here; errors that pass have been retried.
  [[nodiscard]] std::optional<FinishedSave> finished(std::chrono::milliseconds patience);
  // How long the last save took; before the first one a guess from the size.
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
