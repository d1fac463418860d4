// One training per run directory: two would overwrite each other's metrics and checkpoints.
#pragma once
#include <string>

namespace pinnerformer {

// Makes the directory and holds RUN/lock until destroyed or the process ends, however it ends.
// Only its owner can open the lock, so that no other user can hold it. Warns on stderr where the
// file system has no locks. Throws IoError where the directory cannot be made or another process
// holds the lock.
class RunLock {
 public:
  RunLock(const std::string& run_directory, double longest_wait_seconds);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace pinnerformer
