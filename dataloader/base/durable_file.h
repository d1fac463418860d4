// A file that is on disk, whole and checksummed, before anybody relies on it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "dataloader/base/file.h"

namespace pinnerformer {

// What a finished file looks like; the manifest of a checkpoint stores it.
struct FileDigest {
  int64_t bytes = 0;
  std::string xxh3;  // XXH3-64 of the content, 16 hexadecimal digits
};

// XXH3-64 of a stream of bytes.
class StreamHash {
 public:
  StreamHash();
  ~StreamHash();
  void add(const void* data, size_t bytes);
  [[nodiscard]] FileDigest digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
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
};

FileDigest write_durable(const std::string& path, const std::string& content);
// Reads the whole file to compute what finish() returned. Throws IoError, and DataError where it is
// no regular file.
[[nodiscard]] FileDigest digest_file(const std::string& path);

}  // namespace pinnerformer
