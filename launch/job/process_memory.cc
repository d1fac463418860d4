#include "launch/job/process_memory.h"

#include <malloc.h>
#include <sys/types.h>

#include <climits>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

#include "dataloader/base/errors.h"

// jemalloc's own switch; null where the program runs on another allocator.
extern "C" int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value,
                       size_t new_size) __attribute__((weak));

namespace pinnerformer {
namespace {

// Not for ever: batches of different lengths leave pieces that no later tensor fits into, and the
// memory of a training would grow for hours.
constexpr ssize_t kKeptMs = 60'000;

template <class Value>
void set(const std::string& option, Value value) {
  mallctl(option.c_str(), nullptr, nullptr, &value, sizeof value);
}

// jemalloc returns extents of 8 MiB and more to the kernel as soon as they are freed: those of its
// arena for large extents, and those that free pieces of any arena have grown into. Disables both.
void keep_pages() {
  void* volatile large = std::malloc(size_t{16} << 20);  // now that arena exists
  std::free(large);
  unsigned arenas = 0;
  size_t size = sizeof arenas;
  mallctl("arenas.narenas", &arenas, &size, nullptr, 0);
  for (unsigned i = 0; i < arenas; ++i) {
    const std::string arena = "arena." + std::to_string(i);
    set(arena + ".dirty_decay_ms", kKeptMs);
    set(arena + ".oversize_threshold", std::numeric_limits<size_t>::max());
  }
  set("arenas.dirty_decay_ms", kKeptMs);  // of those that other threads will get
}

}  // namespace

void keep_freed_memory() {
  if (mallctl != nullptr) {
    keep_pages();
    return;
  }
#ifdef __GLIBC__
  constexpr int kMostThatGlibcTakes = 32 << 20;
  mallopt(M_MMAP_THRESHOLD, kMostThatGlibcTakes);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

void release_freed_memory() {
  if (mallctl != nullptr) {
    mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);  // 4096: all arenas
    return;
  }
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

double peak_memory_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  throw IoError("/proc/self/status has no VmHWM");
}

void forget_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace pinnerformer
