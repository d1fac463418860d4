// A file that appears under its name only when it is whole: written beside it, synced, renamed.
// DurableFile (durable_file.h) is for files of a directory that is itself published by rename.
#pragma once
#include <string>
#include <string_view>

#include "dataloader/base/file.h"

namespace pinnerformer {

// A reader of the target sees the old file or the whole new one. Every failure is an IoError that
// names the file.
//
// Only a regular file is replaced. Anything else under the target's name is refused, at the start
// and again in publish(): a pipe, a device, a socket, a directory, and a symbolic link, whose
// owner may be another than that of the file it names.
class PublishedFile {
 public:
  // Creates the directory of `target` where it is missing, and in it an empty temporary file
  // TARGET.tmp-<process>-<random number>, exclusively, with the modes of any new file (umask).
  // Removes temporary files of the same target that killed processes left.
  explicit PublishedFile(const std::string& target) : PublishedFile(target, target) {}
  // As above, with the temporary file BESIDE.tmp-... on the same file system.
  PublishedFile(std::string target, const std::string& beside);
  PublishedFile(const PublishedFile&) = delete;
  PublishedFile& operator=(const PublishedFile&) = delete;
  ~PublishedFile();  // removes the temporary file unless published

  [[nodiscard]] const std::string& path() const { return file_.path(); }  // of the temporary file
  [[nodiscard]] File& file() { return file_; }
  // Syncs the content, renames, syncs the directory. Nothing is written afterwards.
  void publish();

 private:
  std::string target_;
  File file_;
  bool published_ = false;
};

// Publishes a file with this content.
void publish_text(const std::string& target, std::string_view content);

// Throws IoError unless `target` is free or a regular file: see PublishedFile.
void check_replaceable(const std::string& target);

}  // namespace pinnerformer
