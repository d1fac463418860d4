// XXH3: checksums of blocks and of files, fingerprints, the order of users.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/random.h"

namespace pinnerformer {

constexpr int64_t kChecksumBlockBytes = int64_t{4} << 20;

[[nodiscard]] uint64_t hash_bytes(const void* bytes, int64_t count);  // XXH3-64

// The order of users in a dataset is (user_hash, id); evaluation users are drawn by it.
[[nodiscard]] inline uint64_t user_hash(int64_t id) {
  return splitmix64(static_cast<uint64_t>(id));
}
[[nodiscard]] uint64_t user_hash(std::string_view id);

// XXH3-64 of each block of kChecksumBlockBytes of a part of a file; the last block may be shorter.
[[nodiscard]] std::vector<uint64_t> block_checksums(const File& file, int64_t offset,
                                                    int64_t bytes);

// The error for rows [first, end) of a dataset that do not match their checksum.
[[nodiscard]] DataError damaged_rows(const std::string& path, const std::string& dataset,
                                     int64_t first, int64_t end);

// 16 hexadecimal digits: how hashes are written in attributes and manifests.
[[nodiscard]] std::string hash_text(uint64_t hash);

// XXH3-64 of a stream of bytes.
class StreamHash {
 public:
  StreamHash();
  ~StreamHash();
  void add(const void* data, size_t bytes);
  [[nodiscard]] uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A hash over many pieces; the order and the borders of the pieces matter.
class Fingerprint {
 public:
  void add(std::string_view piece);
  void add(const std::vector<uint64_t>& piece);
  void add(int64_t number);
  [[nodiscard]] uint64_t value() const { return hash_.value(); }

 private:
  StreamHash hash_;
};

}  // namespace pinnerformer
