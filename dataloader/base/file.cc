// POSIX calls with their errors turned into exceptions.
#include "dataloader/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "dataloader/base/paths.h"
#include "dataloader/base/retry.h"

namespace pinnerformer {
namespace {

[[noreturn]] void throw_errno(const std::string& what, const std::string& path) {
  const int code = errno;
  std::string message = what + " " + path + ": " + std::strerror(code);
  if (code == ENOENT) throw MissingInputError(message);
  if (code == EMFILE)
    message +=
        "; a dataset needs one open file for each users file: raise the limit (ulimit -n), or "
        "import it again with fewer, larger files";
  if (code == ENOSPC || code == EDQUOT) message += "; free some space or choose another directory";
  if (code == EFBIG) message += "; the limit on file sizes (ulimit -f) was reached";
  if (code == EIO || code == EAGAIN || code == EINTR) throw TransientIoError(message);
  throw IoError(message);
}

// Of a call that writes: a missing directory is no missing input.
[[noreturn]] void throw_write_errno(const std::string& what, const std::string& path) {
  if (errno == ENOENT) throw IoError(what + " " + path + ": its directory does not exist");
  throw_errno(what, path);
}

int open_or_throw(const std::string& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (descriptor >= 0) return descriptor;
  // A place to write to is no input: the directory is missing or was removed meanwhile.
  if ((flags & (O_CREAT | O_DIRECTORY)) != 0) throw_write_errno("cannot open", path);
  throw_errno("cannot open", path);
}

void require_regular(const File& file) {
  struct stat status {};
  if (::fstat(file.descriptor(), &status) != 0) throw_errno("cannot read", file.path());
  if (!S_ISREG(status.st_mode))
    throw DataError(file.path() + " is not a regular file: found " +
                    describe_file_type(status.st_mode));
}

// The maps that mapped_path_at() searches. A signal handler reads them, so their number is fixed
// and reading takes no lock; `naming` orders writers. The range of a map in use does not change.
struct NamedRange {
  std::atomic<const char*> begin{nullptr};  // nullptr: free
  std::atomic<const char*> end{nullptr};
  std::array<char, 512> path = {};
};
constinit std::array<NamedRange, 256> named_ranges;
constinit std::mutex naming;

NamedRange* find_range(const char* begin) {
  const auto found =
      std::find_if(named_ranges.begin(), named_ranges.end(),
                   [begin](const NamedRange& range) { return range.begin.load() == begin; });
  return found == named_ranges.end() ? nullptr : &*found;
}

void name_range(const void* base, size_t bytes, const std::string& path) {
  const std::lock_guard lock(naming);
  NamedRange* range = find_range(nullptr);
  if (range == nullptr) return;
  const size_t kept = std::min(path.size(), range->path.size() - 1);
  range->path[path.copy(range->path.data(), kept, path.size() - kept)] = '\0';
  range->end = static_cast<const char*>(base) + bytes;
  range->begin = static_cast<const char*>(base);
}

void forget_range(const void* base) {
  const std::lock_guard lock(naming);
  if (NamedRange* range = find_range(static_cast<const char*>(base))) range->begin = nullptr;
}

}  // namespace

const char* mapped_path_at(const void* address) {
  for (const NamedRange& range : named_ranges) {
    const char* begin = range.begin.load();
    if (begin != nullptr && begin <= address && address < range.end.load())
      return range.path.data();
  }
  return nullptr;
}

const char* describe_file_type(unsigned mode) {
  if (S_ISREG(mode)) return "a regular file";
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return S_ISSOCK(mode) ? "a socket" : "something else";
}

// O_NONBLOCK: opening a pipe must not wait for a writer before the pipe is refused.
File File::open(const std::string& path) {
  File file{open_or_throw(path, O_RDONLY | O_NONBLOCK), path};
  require_regular(file);
  return file;
}
File File::open_for_update(const std::string& path) { return {open_or_throw(path, O_RDWR), path}; }
File File::create(const std::string& path) {
  return {open_or_throw(path, O_RDWR | O_CREAT | O_TRUNC), path};
}
File File::create_new(const std::string& path) {
  return {open_or_throw(path, O_RDWR | O_CREAT | O_EXCL), path};
}
File File::append_to(const std::string& path) {
  return {open_or_throw(path, O_WRONLY | O_CREAT | O_APPEND), path};
}

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int64_t File::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) throw_errno("cannot ask for the size of", path_);
  return status.st_size;
}

void File::read_at(int64_t offset, void* destination, int64_t bytes) const {
  auto* to = static_cast<char*>(destination);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, to, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("cannot read " + std::to_string(bytes) + " bytes of", path_);
    if (got == 0) {
      throw IoError("cannot read " + path_ + ": it ends at byte " + std::to_string(offset) + ", " +
                    std::to_string(bytes) + " bytes too early; was it truncated while in use?");
    }
    to += got;
    offset += got;
    bytes -= got;
  }
}

void File::write_at(int64_t offset, const void* source, int64_t bytes) {
  const auto* from = static_cast<const char*>(source);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(descriptor_, from, static_cast<size_t>(bytes), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_errno("cannot write " + std::to_string(bytes) + " bytes to", path_);
    from += put;
    offset += put;
    bytes -= put;
  }
}

void File::append(const void* source, int64_t bytes) {
  const auto* from = static_cast<const char*>(source);
  while (bytes > 0) {
    const ssize_t put = ::write(descriptor_, from, static_cast<size_t>(bytes));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_errno("cannot write " + std::to_string(bytes) + " bytes to", path_);
    from += put;
    bytes -= put;
  }
}

void File::sync() {
  if (::fsync(descriptor_) != 0) throw_errno("cannot flush to disk", path_);
}

void sync_directory_entries(const std::string& path) {
  const int descriptor = open_or_throw(path, O_RDONLY | O_DIRECTORY);
  const int status = ::fsync(descriptor);
  const int code = errno;
  ::close(descriptor);
  errno = code;
  // Some network file systems cannot sync a directory; their rename is durable by itself.
  if (status != 0 && code != EINVAL) throw_errno("cannot flush to disk the directory", path);
}

void rename_durably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw_write_errno("cannot rename " + from + " to", to);
  try {
    retry_passing_errors([&] { sync_directory_entries(parent_directory(to)); });
  } catch (const TransientIoError& error) {
    throw IoError(error.what());
  }
}

std::string read_whole_file(const std::string& path, int64_t most_bytes) {
  const File file = File::open(path);
  const int64_t bytes = file.size();
  if (bytes > most_bytes)
    throw DataError(path + " has " + std::to_string(bytes) + " bytes, expected at most " +
                    std::to_string(most_bytes));
  std::string content(static_cast<size_t>(bytes), '\0');
  file.read_at(0, content.data(), bytes);
  return content;
}

ReadOnlyMap::ReadOnlyMap(const File& file, int64_t offset, int64_t bytes) {
  if (bytes == 0) return;  // an empty map is not a map to the kernel
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  const int64_t start = offset / page * page;
  const auto length = static_cast<size_t>(bytes + offset - start);
  void* base = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file.descriptor(), start);
  if (base == MAP_FAILED) throw_errno("cannot map", file.path());
  name_range(base, length, file.path());
  base_ = base;
  mapped_ = static_cast<int64_t>(length);
  data_ = static_cast<const char*>(base) + (offset - start);
}

ReadOnlyMap::ReadOnlyMap(ReadOnlyMap&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)),
      data_(std::exchange(other.data_, nullptr)) {}

ReadOnlyMap& ReadOnlyMap::operator=(ReadOnlyMap&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(mapped_, other.mapped_);
  std::swap(data_, other.data_);
  return *this;
}

ReadOnlyMap::~ReadOnlyMap() {
  if (base_ == nullptr) return;
  forget_range(base_);  // before another map can lie there
  ::munmap(base_, static_cast<size_t>(mapped_));
}

}  // namespace pinnerformer
