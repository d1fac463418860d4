// A directory that appears under its name only when it is whole: written beside it, then renamed.
#pragma once
#include <optional>
#include <string>

#include "dataloader/base/temporary.h"

namespace pinnerformer {

class PublishedDirectory {
 public:
  // Makes TARGET.tmp-<unique>, and removes those that killed processes left. Throws DataError where
  // TARGET holds a dataset and `overwrite` is false, or holds anything else: foreign files are
  // never deleted.
  PublishedDirectory(std::string target, bool overwrite);
  PublishedDirectory(const PublishedDirectory&) = delete;
  PublishedDirectory& operator=(const PublishedDirectory&) = delete;
  ~PublishedDirectory();  // removes the temporary directory unless published

  [[nodiscard]] const std::string& path() const { return path_; }  // where to write meanwhile
  // Brings the directory to the disk and gives it its name, replacing a dataset of that name.
  void publish();

 private:
  std::string target_;
  bool overwrite_;
  std::string path_;
  std::optional<DirectoryClaim> claim_;
};

}  // namespace pinnerformer
