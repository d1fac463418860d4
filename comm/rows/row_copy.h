// Copies of single rows of a table that is far larger than the cache.
#pragma once
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace pinnerformer {

enum class Access { kRead = 0, kWrite = 1 };

// Prefetches memory into the cache.
template <Access access>
inline void prefetch(const void* memory, size_t bytes) {
  constexpr uintptr_t kCacheLine = 64;
  const auto first = reinterpret_cast<uintptr_t>(memory), end = first + bytes;
  for (uintptr_t line = first / kCacheLine * kCacheLine; line < end; line += kCacheLine)
    __builtin_prefetch(reinterpret_cast<const void*>(line), static_cast<int>(access));
  asm volatile("");  // else GCC leaves out calls of functions that only prefetch
}

// Calls use(i) for every i from begin to end, and prefetch_row(i), which prefetches the memory that
// use(i) touches, kAhead rows earlier. Both should be short: a processor executes a few hundred
// instructions ahead, and overlaps only the accesses of the rows within these.
template <class Prefetch, class Use>
inline void for_rows(int64_t begin, int64_t end, Prefetch prefetch_row, Use use) {
  constexpr int64_t kAhead = 16;
  for (int64_t i = begin; i < std::min(begin + kAhead, end); ++i) prefetch_row(i);
  for (int64_t i = begin; i < end; ++i) {
    if (i + kAhead < end) prefetch_row(i + kAhead);
    use(i);
  }
}

// Memory of a table, on the CPU, in large pages where the system has them.
[[nodiscard]] torch::Tensor empty_table(torch::IntArrayRef shape,
                                        torch::ScalarType type = torch::kFloat32);

// Throws c10::IndexError where one of `rows`, int64 [n], contiguous, on the CPU, is outside of
// `table` [R, ...]: the program computes row numbers itself, so that this is a bug or bad data.
void require_rows_of(const torch::Tensor& table, const torch::Tensor& rows);

// Rows of `table` [R, E], each of them contiguous, of any type, on the CPU: int64 [n] -> [n, E], on
// demand in pinned memory. Throws c10::IndexError for a row outside of the table.
[[nodiscard]] torch::Tensor gather_rows(const torch::Tensor& table, const torch::Tensor& rows,
                                        bool pinned = false);
// The same rows of a table on any device, on that device and without making the host wait.
[[nodiscard]] torch::Tensor take_rows(const torch::Tensor& table, const torch::Tensor& rows);

}  // namespace pinnerformer
