// Whether addresses inside the kernel's large pages are translated 2 MiB or only 4 KiB at a time,
// as in a virtual machine whose host has small pages: a walk through one line of each of N
// neighbouring 4 KiB pages against a walk through N packed lines. Where 4 KiB is the unit, the
// first slows down as soon as N is more than the processor keeps translations for (a few thousand).
//   g++ -O2 tests/benchmark/page_translations.cc -o /tmp/page_translations &&
//   /tmp/page_translations
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

namespace {

constexpr size_t kLargePage = size_t{2} << 20, kLine = 64, kBytes = size_t{64} << 20;

// Nanoseconds per line on a random ring through `lines` lines, `stride` bytes apart; the shortest
// of some walks.
double walk(char* memory, size_t lines, size_t stride) {
  std::vector<size_t> order(lines);
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  const auto line = [&](size_t i) {  // spread over the sets of the cache
    const size_t page = order[i % lines];
    return reinterpret_cast<void**>(memory + page * stride + page * kLine % stride);
  };
  for (size_t i = 0; i < lines; ++i) *line(i) = line(i + 1);
  double shortest = 1e9;
  for (int repetition = 0; repetition < 7; ++repetition) {
    constexpr size_t kSteps = 2'000'000;
    void** at = line(0);
    const auto begin = std::chrono::steady_clock::now();
    for (size_t i = 0; i < kSteps; ++i) at = static_cast<void**>(*at);
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
    if (at != nullptr) shortest = std::min(shortest, taken.count() / kSteps);
  }
  return shortest;
}

}  // namespace

int main() {
  auto* memory = static_cast<char*>(std::aligned_alloc(kLargePage, kBytes));
  madvise(memory, kBytes, MADV_HUGEPAGE);
  for (const size_t lines : {1024, 2048, 4096, 8192, 12288})
    std::printf("%zu lines: one per 4 KiB %.1f ns, packed %.1f ns\n", lines,
                walk(memory, lines, 4096), walk(memory, lines, kLine));
}
