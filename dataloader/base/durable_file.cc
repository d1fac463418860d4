#include "dataloader/base/durable_file.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

namespace pinnerformer {

struct StreamHash::State {
  State() : xxh3(XXH3_createState()) { XXH3_64bits_reset(xxh3); }
  ~State() { XXH3_freeState(xxh3); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  XXH3_state_t* xxh3;
  int64_t bytes = 0;
};

StreamHash::StreamHash() : state_(std::make_unique<State>()) {}
StreamHash::~StreamHash() = default;

void StreamHash::add(const void* data, size_t bytes) {
  XXH3_64bits_update(state_->xxh3, data, bytes);
  state_->bytes += static_cast<int64_t>(bytes);
}

FileDigest StreamHash::digest() const {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx",
                static_cast<unsigned long long>(XXH3_64bits_digest(state_->xxh3)));
  return {state_->bytes, text.data()};
}

void DurableFile::write(const void* data, size_t bytes) {
  hash_.add(data, bytes);
  file_.append(data, static_cast<int64_t>(bytes));
}

FileDigest DurableFile::finish() {
  file_.sync();
  return hash_.digest();
}

FileDigest write_durable(const std::string& path, const std::string& content) {
  DurableFile file(path);
  file.write(content.data(), content.size());
  return file.finish();
}

FileDigest digest_file(const std::string& path) {
  constexpr int64_t kBlock = int64_t{4} << 20;
  const File file = File::open(path);
  const int64_t size = file.size();
  std::vector<char> block(static_cast<size_t>(std::min(size, kBlock)));
  StreamHash hash;
  for (int64_t at = 0; at < size; at += kBlock) {
    const int64_t bytes = std::min(kBlock, size - at);
    file.read_at(at, block.data(), bytes);
    hash.add(block.data(), static_cast<size_t>(bytes));
  }
  return hash.digest();
}

}  // namespace pinnerformer
