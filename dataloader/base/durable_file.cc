#include "dataloader/base/durable_file.h"

#include <algorithm>
#include <vector>

namespace pinnerformer {

void DurableFile::write(const void* data, size_t bytes) {
  hash_.add(data, bytes);
  bytes_ += static_cast<int64_t>(bytes);
  file_.append(data, static_cast<int64_t>(bytes));
}

FileDigest DurableFile::finish() {
  file_.sync();
  return {bytes_, hash_text(hash_.value())};
}

FileDigest write_durable(const std::string& path, const std::string& content) {
  DurableFile file(path);
  file.write(content.data(), content.size());
  return file.finish();
}

FileDigest digest_file(const std::string& path) { return digest_file(File::open(path)); }

FileDigest digest_file(const File& file) {
  constexpr int64_t kBlock = int64_t{4} << 20;
  const int64_t size = file.size();
  std::vector<char> block(static_cast<size_t>(std::min(size, kBlock)));
  StreamHash hash;
  for (int64_t at = 0; at < size; at += kBlock) {
    const int64_t bytes = std::min(kBlock, size - at);
    file.read_at(at, block.data(), bytes);
    hash.add(block.data(), static_cast<size_t>(bytes));
  }
  return {size, hash_text(hash.value())};
}

void require_digest(const File& file, const FileDigest& expected, const std::string& description,
                    const std::string& remedy) {
  const FileDigest found = digest_file(file);
  if (found == expected) return;
  throw DataError(file.path() + ": expected " + std::to_string(expected.bytes) +
                  " bytes with XXH3 " + expected.xxh3 + " as " + description + " says, found " +
                  std::to_string(found.bytes) + " with " + found.xxh3 +
                  ": the file is damaged or was replaced. " + remedy);
}

}  // namespace pinnerformer
