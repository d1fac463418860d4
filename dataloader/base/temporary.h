// Temporary files and directories stay behind when a process is killed. The next process that
// writes to the same target removes them. A lock (flock) marks those that are in use.
#pragma once
#include <string>

#include "dataloader/base/file.h"

namespace pinnerformer {

// TARGET.tmp-<process>-<random number>.
[[nodiscard]] std::string temporary_name(const std::string& target);

// Marks a directory as in use as long as the object exists.
class DirectoryClaim {
 public:
  explicit DirectoryClaim(const std::string& path);
  DirectoryClaim(const DirectoryClaim&) = delete;
  DirectoryClaim& operator=(const DirectoryClaim&) = delete;
  ~DirectoryClaim();

 private:
  int descriptor_;
};

// Creates a file with a temporary_name() of the target and marks it as in use until it is closed.
// Throws IoError.
[[nodiscard]] File create_claimed_file(const std::string& target);

// Removes every directory TARGET.tmp-* that is not in use. Where the file system has no locks,
// nothing shows which are in use, and all stay.
void remove_abandoned_directories(const std::string& target);
// As above, every file with a temporary_name() of the target.
void remove_abandoned_files(const std::string& target);

}  // namespace pinnerformer
