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
bool locked_in_time(int descriptor, double longest_wait_seconds) {
  constexpr auto kPause = std::chrono::milliseconds(100);
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(longest_wait_seconds);
  while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace

RunLock::RunLock(const std::string& run_directory, double longest_wait_seconds) {
  std::error_code error;
  std::filesystem::create_directories(run_directory, error);
  if (error) throw IoError("run.directory: cannot make " + run_directory + ": " + error.message());
  const std::string path = run_directory + "/lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor_ < 0)
    throw IoError("run.directory: cannot write " + path + ": " + std::strerror(errno));
  if (!locked_in_time(descriptor_, longest_wait_seconds)) {
    const bool held = errno == EWOULDBLOCK;
    ::close(descriptor_);
    descriptor_ = -1;
    if (held)
      throw IoError(run_directory + " is in use by another training; wait until it ends, or use " +
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
