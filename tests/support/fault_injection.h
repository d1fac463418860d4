// Faults of the file system: the n-th call that changes something below a directory fails, is cut
// short, or is where the process is killed. Linked into a test program, or as a library named in
// LD_PRELOAD for the built one, armed there by PF_FAULT="FAULT:FIRST:COUNT:DIRECTORY".
#pragma once
#include <cstdint>
#include <string>

namespace pinnerformer {

enum class Fault {
  kCount,        // nothing happens, calls are counted
  kKillBefore,   // SIGKILL instead of the call
  kKillAfter,    // SIGKILL when it has been done
  kTornWrite,    // SIGKILL when half of a write has been done; other calls: as kKillBefore
  kShortWrite,   // half of a write is done; other calls are done
  kNoSpace,      // ENOSPC; removing succeeds
  kIoError,      // EIO
  kInterrupted,  // EINTR
  kSlow,         // done after 0.2 s
  kReadError,    // EIO where a file is read; nothing else meets it or is counted
};

struct FaultPlan {
  std::string below;  // directory whose files are meant
  Fault fault = Fault::kCount;
  int64_t first = 0;  // which call is the first to meet the fault
  int64_t count = 1;  // how many do
};

// From now on, in this process and the children it forks. Calls: open (creating), write, pwrite,
// fsync, mkdir, rename, unlink, rmdir, remove; pread for kSlow and kReadError only.
void arm_faults(const FaultPlan& plan);
void disarm_faults();
// Calls below the directory since arm_faults().
[[nodiscard]] int64_t calls_seen();

}  // namespace pinnerformer
