#include "launch/job/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <thread>

#include "dataloader/base/errors.h"

namespace pinnerformer {

namespace {

// Waits for the ranks of a job that was killed a moment ago and are still ending.
bool locked_in_time(int descriptor) {
  constexpr int kTries = 50;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  errno = EWOULDBLOCK;
  return false;
}

}  // namespace

RunLock::RunLock(const std::string& run_directory) {
  std::error_code error;
  std::filesystem::create_directories(run_directory, error);
  if (error) throw IoError("run.directory: cannot make " + run_directory + ": " + error.message());
  const std::string path = run_directory + "/lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor_ < 0)
    throw IoError("run.directory: cannot write " + path + ": " + std::strerror(errno));
  if (!locked_in_time(descriptor_)) {
    const bool held = errno == EWOULDBLOCK;
    ::close(descriptor_);
    descriptor_ = -1;
    if (held)
      throw IoError(run_directory +
                    " is in use by another training; wait for it, or give this one " +
                    "another run.directory");
    // A file system without locks does not prevent a training.
    std::cerr << "pinnerformer: warning: " + path +
                     " cannot be locked on this file system: make sure that no other job uses " +
                     run_directory + "\n"
              << std::flush;
  }
}

RunLock::~RunLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace pinnerformer
