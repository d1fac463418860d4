#include "tests/support/failing_locks.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace {

std::atomic<bool> locks_fail = false;

}  // namespace

extern "C" int flock(int descriptor, int operation) noexcept {
  if (locks_fail) {
    errno = ENOLCK;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_flock, descriptor, operation));
}

namespace pinnerformer {

FailingLocks::FailingLocks() { locks_fail = true; }
FailingLocks::~FailingLocks() { locks_fail = false; }

}  // namespace pinnerformer
