#include "launch/process_memory.h"

#include <malloc.h>

#include <climits>
#include <fstream>
#include <string>

#include "dataloader/errors.h"

namespace pinnerformer {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kMostThatGlibcTakes = 32 << 20;
  mallopt(M_MMAP_THRESHOLD, kMostThatGlibcTakes);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
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
