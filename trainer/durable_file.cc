#include "trainer/durable_file.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "dataloader/errors.h"

namespace pinnerformer {
namespace {

[[noreturn]] void fail(const std::string& action, const std::string& path) {
  const int error = errno;
  std::string text = action + " " + path + " failed: " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) text += "; free some space and start again";
  throw IoError(text);
}

// A descriptor for reading, closed at the end of the scope.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : value_(::open(path.c_str(), flags)) {
    if (value_ < 0) fail("opening", path);
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }

 private:
  int value_;
};

std::string hex(XXH64_hash_t hash) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

}  // namespace

struct DurableFile::Hash {
  Hash() : state(XXH3_createState()) { XXH3_64bits_reset(state); }
  ~Hash() { XXH3_freeState(state); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  XXH3_state_t* state;
};

DurableFile::DurableFile(std::string path)
    : path_(std::move(path)), hash_(std::make_unique<Hash>()) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("creating", path_);
}

DurableFile::~DurableFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void DurableFile::write(const void* data, size_t bytes) {
  XXH3_64bits_update(hash_->state, data, bytes);
  bytes_ += static_cast<int64_t>(bytes);
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("writing", path_);
    at += written;
    bytes -= static_cast<size_t>(written);
  }
}

FileDigest DurableFile::finish() {
  if (::fsync(descriptor_) != 0) fail("flushing", path_);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail("closing", path_);
  return {bytes_, hex(XXH3_64bits_digest(hash_->state))};
}

FileDigest write_durable(const std::string& path, const std::string& content) {
  DurableFile file(path);
  file.write(content.data(), content.size());
  return file.finish();
}

void sync_directory(const std::string& path) {
  const Descriptor directory(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (::fsync(directory.get()) != 0) fail("flushing", path);
}

FileDigest digest_file(const std::string& path) {
  const Descriptor file(path, O_RDONLY | O_CLOEXEC);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  std::vector<char> buffer(4 << 20);
  FileDigest digest;
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("reading", path);
    if (got == 0) break;
    XXH3_64bits_update(state.get(), buffer.data(), static_cast<size_t>(got));
    digest.bytes += got;
  }
  digest.xxh3 = hex(XXH3_64bits_digest(state.get()));
  return digest;
}

}  // namespace pinnerformer
