// A new file with a digest, on the disk when finish() returns: for files of a directory that is
// published as a whole. PublishedFile (published_file.h) is for a file that replaces another.
#pragma once
#include <cstdint>
#include <string>

#include "dataloader/base/checksum.h"
#include "dataloader/base/file.h"

namespace pinnerformer {

// Size and hash of a finished file; the manifest of a checkpoint stores them.
struct FileDigest {
  int64_t bytes = 0;
  std::string xxh3;  // XXH3-64 of the content, 16 hexadecimal digits
  bool operator==(const FileDigest&) const = default;
};

// Writes a new file front to back; one that exists is never overwritten. Every failure throws
// IoError naming the file.
class DurableFile {
 public:
  explicit DurableFile(const std::string& path) : file_(File::create_new(path)) {}
  void write(const void* data, size_t bytes);
  // Returns once the content is on the disk.
  FileDigest finish();

 private:
  File file_;
  StreamHash hash_;
  int64_t bytes_ = 0;
};

FileDigest write_durable(const std::string& path, const std::string& content);
// Reads the whole file to compute what finish() returned. Throws IoError, and DataError where it is
// no regular file.
[[nodiscard]] FileDigest digest_file(const std::string& path);
[[nodiscard]] FileDigest digest_file(const File& file);
// Reads the whole file. Throws DataError where it is not the one that `description`, a file's name,
// has the digest of; `remedy` ends the message.
void require_digest(const File& file, const FileDigest& expected, const std::string& description,
                    const std::string& remedy);

}  // namespace pinnerformer
