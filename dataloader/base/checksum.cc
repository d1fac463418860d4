// XXH3 by libxxhash.
#include "dataloader/base/checksum.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <new>

namespace pinnerformer {

uint64_t hash_bytes(const void* bytes, int64_t count) {
  return XXH3_64bits(bytes, static_cast<size_t>(count));
}

uint64_t user_hash(std::string_view id) { return XXH3_64bits(id.data(), id.size()); }

std::vector<uint64_t> block_checksums(const File& file, int64_t offset, int64_t bytes) {
  std::vector<uint64_t> sums;
  std::vector<char> block(static_cast<size_t>(std::min(bytes, kChecksumBlockBytes)));
  for (int64_t done = 0; done < bytes; done += kChecksumBlockBytes) {
    const int64_t count = std::min(kChecksumBlockBytes, bytes - done);
    file.read_at(offset + done, block.data(), count);
    sums.push_back(hash_bytes(block.data(), count));
  }
  return sums;
}

DataError damaged_rows(const std::string& path, const std::string& dataset, int64_t first,
                       int64_t end) {
  return DataError(path + ": dataset " + dataset + ", rows " + std::to_string(first) + " to " +
                   std::to_string(end) +
                   ": do not match their checksum: the file is damaged; copy or import it again");
}

struct StreamHash::State {
  XXH3_state_t* xxh3 = XXH3_createState();
  State() {
    if (xxh3 == nullptr) throw std::bad_alloc();
    XXH3_64bits_reset(xxh3);
  }
  ~State() { XXH3_freeState(xxh3); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

StreamHash::StreamHash() : state_(std::make_unique<State>()) {}
StreamHash::~StreamHash() = default;

void StreamHash::add(const void* data, size_t bytes) {
  XXH3_64bits_update(state_->xxh3, data, bytes);
}

uint64_t StreamHash::value() const { return XXH3_64bits_digest(state_->xxh3); }

void Fingerprint::add(std::string_view piece) {
  add(static_cast<int64_t>(piece.size()));
  hash_.add(piece.data(), piece.size());
}

void Fingerprint::add(const std::vector<uint64_t>& piece) {
  add(static_cast<int64_t>(piece.size()));
  hash_.add(piece.data(), piece.size() * sizeof(uint64_t));
}

void Fingerprint::add(int64_t number) { hash_.add(&number, sizeof(number)); }

std::string hash_text(uint64_t hash) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

}  // namespace pinnerformer
