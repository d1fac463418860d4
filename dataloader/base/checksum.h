// XXH3 in the three places where the format uses it: block checksums, fingerprints, user order.
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

// What to throw where rows [first, end) of a dataset do not match their checksum.
[[nodiscard]] DataError damaged_rows(const std::string& path, const std::string& dataset,
                                     int64_t first, int64_t end);

// 16 hexadecimal digits: how fingerprints stand in attributes.
[[nodiscard]] std::string fingerprint_text(uint64_t fingerprint);

// A hash over many pieces; the order and the borders of the pieces matter.
class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  void add(std::string_view piece);
  void add(const std::vector<uint64_t>& piece);
  void add(int64_t number);
  [[nodiscard]] uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pinnerformer
