#include "dataloader/base/temporary.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <random>
#include <string_view>

#include "dataloader/base/digits.h"
#include "dataloader/base/paths.h"

namespace pinnerformer {
namespace fs = std::filesystem;
namespace {

int open_without_waiting(const std::string& path, int flags) {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags);
}

// "<digits>-<digits>": a file of another name may be the user's.
bool is_temporary_suffix(std::string_view suffix) {
  const size_t dash = suffix.find('-');
  return dash != std::string_view::npos && has_digits_only(suffix.substr(0, dash)) &&
         has_digits_only(suffix.substr(dash + 1));
}

// "1-2", "1-2.old", "events-3", "input-3".
bool is_temporary_directory(std::string_view suffix) {
  for (const std::string_view kind : {"events-", "input-"})
    if (suffix.starts_with(kind)) return has_digits_only(suffix.substr(kind.size()));
  if (suffix.ends_with(".old")) suffix.remove_suffix(4);
  return is_temporary_suffix(suffix);
}

// Calls `remove` with every path TARGET.tmp-<suffix> that is of this kind and not in use.
template <class Accepts, class Remove>
void remove_abandoned(const std::string& target, int flags, const Accepts& accepts,
                      const Remove& remove) {
  const std::string prefix = fs::path(target).filename().string() + ".tmp-";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent_directory(target), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || !accepts(entry, name.substr(prefix.size()))) continue;
    const int descriptor = open_without_waiting(entry.path().string(), flags);
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) remove(entry.path());
    ::close(descriptor);
  }
}

}  // namespace

std::string temporary_name(const std::string& target) {
  std::random_device random;
  const uint64_t number = (static_cast<uint64_t>(random()) << 32) | random();
  return target + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(number);
}

// Failing to lock only means that the directory would not be cleaned up after a kill.
DirectoryClaim::DirectoryClaim(const std::string& path)
    : descriptor_(open_without_waiting(path, O_DIRECTORY)) {
  if (descriptor_ >= 0) static_cast<void>(::flock(descriptor_, LOCK_EX | LOCK_NB));
}

DirectoryClaim::~DirectoryClaim() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

// Another process may take the new file for abandoned before it is locked: then it holds the lock
// or has removed the file, and the next try makes another.
File create_claimed_file(const std::string& target) {
  while (true) {
    File file = File::create_new(temporary_name(target));
    const bool taken = ::flock(file.descriptor(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    struct stat status {};
    if (!taken && ::fstat(file.descriptor(), &status) == 0 && status.st_nlink > 0) return file;
  }
}

void remove_abandoned_directories(const std::string& target) {
  remove_abandoned(
      target, O_DIRECTORY,
      [](const auto&, const std::string& suffix) { return is_temporary_directory(suffix); },
      [](const fs::path& path) {
        std::error_code ignored;
        fs::remove_all(path, ignored);
      });
}

void remove_abandoned_files(const std::string& target) {
  remove_abandoned(
      target, 0,
      [](const fs::directory_entry& entry, const std::string& suffix) {
        std::error_code ignored;
        return is_temporary_suffix(suffix) &&
               entry.symlink_status(ignored).type() == fs::file_type::regular;
      },
      [](const fs::path& path) { ::unlink(path.c_str()); });
}

}  // namespace pinnerformer
