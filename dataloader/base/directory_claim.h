// Temporary directories of a process that was killed stay behind; the next one that writes to the
// same target removes them. A lock tells them from those of a process that is at work.
#pragma once
#include <string>

namespace pinnerformer {

// Keeps a directory from being taken for abandoned, as long as it lives.
class DirectoryClaim {
 public:
  explicit DirectoryClaim(const std::string& path);
  DirectoryClaim(const DirectoryClaim&) = delete;
  DirectoryClaim& operator=(const DirectoryClaim&) = delete;
  ~DirectoryClaim();

 private:
  int descriptor_;
};

// Removes every directory TARGET.tmp-* that nobody claims. Where the file system knows no locks,
// none can be told to be abandoned, and they stay.
void remove_abandoned_directories(const std::string& target);

}  // namespace pinnerformer
