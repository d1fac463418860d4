// Locks as a file system without them: the test programs bring their own flock(), which the linker
// takes before the system's.
#pragma once

namespace pinnerformer {

// While it lives, every flock() fails with ENOLCK.
class FailingLocks {
 public:
  FailingLocks();
  ~FailingLocks();
  FailingLocks(const FailingLocks&) = delete;
  FailingLocks& operator=(const FailingLocks&) = delete;
};

}  // namespace pinnerformer
