// A directory that appears under its name only when it is whole: written beside it, then renamed.
#pragma once
#include <optional>
#include <string>

#include "dataloader/base/temporary.h"

namespace pinnerformer {

// What a published directory holds, and how an older one of its kind is recognised.
struct DirectoryKind {
  std::string name;                                    // "dataset"
  std::string a_name;                                  // "a dataset"
  std::string marker;                                  // a directory of this kind has this file
  bool (*is_part)(const std::string& file) = nullptr;  // whether a file of this name belongs to it
};
[[nodiscard]] const DirectoryKind& dataset_directory();

// Throws DataError where `target` holds a directory of this kind and `overwrite` is false, or holds
// anything else: foreign files are never deleted.
void require_free_target(const std::string& target, bool overwrite, const DirectoryKind& kind);

class PublishedDirectory {
 public:
  // Makes TARGET.tmp-<unique>, and removes those that killed processes left. Throws as
  // require_free_target().
  PublishedDirectory(std::string target, bool overwrite, DirectoryKind kind = dataset_directory());
  PublishedDirectory(const PublishedDirectory&) = delete;
  PublishedDirectory& operator=(const PublishedDirectory&) = delete;
  ~PublishedDirectory();  // removes the temporary directory unless published

  [[nodiscard]] const std::string& path() const { return path_; }  // where to write meanwhile
  // Brings the directory to the disk and gives it its name, replacing an older one.
  void publish();

 private:
  std::string target_;
  bool overwrite_;
  DirectoryKind kind_;
  std::string path_;
  std::optional<DirectoryClaim> claim_;
};

}  // namespace pinnerformer
