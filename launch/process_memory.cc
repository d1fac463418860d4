#include "launch/process_memory.h"

#include <malloc.h>
#include <sys/types.h>

#include <climits>
#include <fstream>
#include <string>

#include "dataloader/errors.h"

// jemalloc's own switch; null where the program runs on another allocator.
extern "C" int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value,
                       size_t new_size) __attribute__((weak));

namespace pinnerformer {

void keep_freed_memory() {
  if (mallctl != nullptr) {
    ssize_t never = -1;
    // The arena of the main thread, and those that other threads will get.
    for (const char* decay : {"arena.0.dirty_decay_ms", "arenas.dirty_decay_ms"})
      mallctl(decay, nullptr, nullptr, &never, sizeof never);
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
