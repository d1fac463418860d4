#include "dataloader/base/directory_claim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>

namespace pinnerformer {
namespace fs = std::filesystem;
namespace {

int open_directory(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

}  // namespace

// Failing to lock only means that the directory would not be cleaned up after a kill.
DirectoryClaim::DirectoryClaim(const std::string& path) : descriptor_(open_directory(path)) {
  if (descriptor_ >= 0) static_cast<void>(::flock(descriptor_, LOCK_EX | LOCK_NB));
}

DirectoryClaim::~DirectoryClaim() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void remove_abandoned_directories(const std::string& target) {
  const fs::path path(target);
  const fs::path parent = path.parent_path().empty() ? "." : path.parent_path();
  const std::string prefix = path.filename().string() + ".tmp-";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    const int descriptor = open_directory(entry.path().string());
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry.path(), ignored);
    ::close(descriptor);
  }
}

}  // namespace pinnerformer
