// Defines the C library's functions; the real ones are found behind ours (RTLD_NEXT).
#include "tests/support/fault_injection.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <sstream>

namespace pinnerformer {
namespace {

constinit std::atomic<bool> armed{false};
constinit std::atomic<int64_t> seen{0};

FaultPlan& plan() {
  static FaultPlan instance;
  return instance;
}

std::string path_of(int descriptor) {
  std::array<char, PATH_MAX> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t length = ::readlink(link.c_str(), path.data(), path.size());
  return length < 0 ? std::string() : std::string(path.data(), static_cast<size_t>(length));
}

std::string path_at(int directory, const char* name) {
  return name[0] == '/' || directory == AT_FDCWD ? name : path_of(directory) + "/" + name;
}

enum class Kind { kWrite, kRemove, kRead, kOther };

// The fault that a call on this path meets; kCount for none.
Fault fault_of(const std::string& path, Kind kind) {
  const FaultPlan& now = plan();
  const bool reads = now.fault == Fault::kSlow || now.fault == Fault::kReadError;
  const bool changes = now.fault != Fault::kReadError;
  if (!path.starts_with(now.below) || !(kind == Kind::kRead ? reads : changes))
    return Fault::kCount;
  const int64_t number = seen++;
  const bool meant = number >= now.first && number - now.first < now.count;
  return meant ? now.fault : Fault::kCount;
}

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

int fail(int code) {
  errno = code;
  return -1;
}

// `call(part)` does the call, of a write only the given part.
template <class Call>
auto with_faults(const std::string& path, Kind kind, const Call& call) -> decltype(call(1)) {
  using Result = decltype(call(1));
  switch (fault_of(path, kind)) {
    case Fault::kCount:
      return call(1);
    case Fault::kKillBefore:
      die();
    case Fault::kKillAfter:
      call(1);
      die();
    case Fault::kTornWrite:
      if (kind == Kind::kWrite) call(2);
      die();
    case Fault::kShortWrite:
      return call(kind == Kind::kWrite ? 2 : 1);
    case Fault::kNoSpace:
      return kind == Kind::kRemove ? call(1) : static_cast<Result>(fail(ENOSPC));
    case Fault::kIoError:
    case Fault::kReadError:
      return static_cast<Result>(fail(EIO));
    case Fault::kInterrupted:
      return static_cast<Result>(fail(EINTR));
    case Fault::kSlow:
      ::usleep(200'000);
      return call(1);
  }
  std::abort();
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

// PF_FAULT="FAULT:FIRST:COUNT:DIRECTORY", FAULT by its number in the enum. For LD_PRELOAD.
__attribute__((constructor)) void arm_from_environment() {
  const char* text = std::getenv("PF_FAULT");
  if (text == nullptr) return;
  std::istringstream words(text);
  FaultPlan wanted;
  int fault = 0;
  char colon = 0;
  words >> fault >> colon >> wanted.first >> colon >> wanted.count >> colon >> wanted.below;
  wanted.fault = static_cast<Fault>(fault);
  arm_faults(wanted);
}

}  // namespace

void arm_faults(const FaultPlan& wanted) {
  plan() = wanted;
  seen = 0;
  armed = true;
}
void disarm_faults() { armed = false; }
int64_t calls_seen() { return seen; }

}  // namespace pinnerformer

using namespace pinnerformer;

extern "C" {

ssize_t write(int descriptor, const void* data, size_t bytes) {
  static const auto next = real<ssize_t (*)(int, const void*, size_t)>("write");
  if (!armed) return next(descriptor, data, bytes);
  return with_faults(path_of(descriptor), Kind::kWrite, [&](size_t part) {
    return next(descriptor, data, part == 1 ? bytes : (bytes + 1) / part);
  });
}

ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t offset) {
  static const auto next = real<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  if (!armed) return next(descriptor, data, bytes, offset);
  return with_faults(path_of(descriptor), Kind::kWrite, [&](size_t part) {
    return next(descriptor, data, part == 1 ? bytes : (bytes + 1) / part, offset);
  });
}

ssize_t pread(int descriptor, void* data, size_t bytes, off_t offset) {
  static const auto next = real<ssize_t (*)(int, void*, size_t, off_t)>("pread");
  if (!armed) return next(descriptor, data, bytes, offset);
  return with_faults(path_of(descriptor), Kind::kRead,
                     [&](size_t) { return next(descriptor, data, bytes, offset); });
}

int fsync(int descriptor) {
  static const auto next = real<int (*)(int)>("fsync");
  if (!armed) return next(descriptor);
  return with_faults(path_of(descriptor), Kind::kOther, [&](size_t) { return next(descriptor); });
}

int open(const char* path, int flags, ...) {
  static const auto next = real<int (*)(const char*, int, ...)>("open");
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  if (!armed || (flags & O_CREAT) == 0) return next(path, flags, mode);
  return with_faults(path, Kind::kOther, [&](size_t) { return next(path, flags, mode); });
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto next = real<int (*)(const char*, mode_t)>("mkdir");
  if (!armed) return next(path, mode);
  return with_faults(path, Kind::kOther, [&](size_t) { return next(path, mode); });
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = real<int (*)(const char*, const char*)>("rename");
  if (!armed) return next(from, to);
  return with_faults(to, Kind::kOther, [&](size_t) { return next(from, to); });
}

int unlink(const char* path) noexcept {
  static const auto next = real<int (*)(const char*)>("unlink");
  if (!armed) return next(path);
  return with_faults(path, Kind::kRemove, [&](size_t) { return next(path); });
}

int unlinkat(int directory, const char* name, int flags) noexcept {
  static const auto next = real<int (*)(int, const char*, int)>("unlinkat");
  if (!armed) return next(directory, name, flags);
  return with_faults(path_at(directory, name), Kind::kRemove,
                     [&](size_t) { return next(directory, name, flags); });
}

int rmdir(const char* path) noexcept {
  static const auto next = real<int (*)(const char*)>("rmdir");
  if (!armed) return next(path);
  return with_faults(path, Kind::kRemove, [&](size_t) { return next(path); });
}

int remove(const char* path) noexcept {
  static const auto next = real<int (*)(const char*)>("remove");
  if (!armed) return next(path);
  return with_faults(path, Kind::kRemove, [&](size_t) { return next(path); });
}

}  // extern "C"
