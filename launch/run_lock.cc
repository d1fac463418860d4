#include "launch/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "dataloader/errors.h"

namespace pinnerformer {

RunLock::RunLock(const std::string& run_directory) {
  std::error_code error;
  std::filesystem::create_directories(run_directory, error);
  if (error)
    throw IoError("run.directory: cannot make " + run_directory + ": " + error.message());
  const std::string path = run_directory + "/lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    throw IoError("run.directory: cannot write " + path + ": " + std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const bool held = errno == EWOULDBLOCK;
    ::close(descriptor_);
    // A file system without locks must not stop anybody from training.
    descriptor_ = -1;
    if (held)
      throw IoError(run_directory + " is in use by another training; wait for it, or give this one " +
                    "another run.directory");
  }
}

RunLock::~RunLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace pinnerformer
