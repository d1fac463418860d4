// Files that are on disk, whole and checksummed, before anybody relies on them.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace pinnerformer {

// What a finished file looks like; the manifest of a checkpoint stores it.
struct FileDigest {
  int64_t bytes = 0;
  std::string xxh3;  // XXH3-64 of the content, 16 hexadecimal digits
};

// Writes a new file. All failures throw IoError naming the file; interrupted and short writes go on.
class DurableFile {
 public:
  explicit DurableFile(std::string path);  // the file must not exist yet
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(const void* data, size_t bytes);
  // Flushes to disk and closes.
  FileDigest finish();

 private:
  struct Hash;
  std::string path_;
  int descriptor_ = -1;
  std::unique_ptr<Hash> hash_;
  int64_t bytes_ = 0;
};

FileDigest write_durable(const std::string& path, const std::string& content);
// Makes the entries of a directory (created, renamed, removed files) survive a crash.
void sync_directory(const std::string& path);
// Reads the whole file to compute what finish() returned. Throws IoError.
[[nodiscard]] FileDigest digest_file(const std::string& path);

}  // namespace pinnerformer
