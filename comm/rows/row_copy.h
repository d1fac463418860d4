// Copies of single rows to and from a table that is far larger than the cache.
#pragma once
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace pinnerformer {

enum class Access { kRead = 0, kWrite = 1 };

// Asks for memory before it is needed.
template <Access access>
inline void prefetch(const void* memory, size_t bytes) {
  constexpr uintptr_t kCacheLine = 64;
  const auto first = reinterpret_cast<uintptr_t>(memory), end = first + bytes;
  for (uintptr_t line = first / kCacheLine * kCacheLine; line < end; line += kCacheLine)
    __builtin_prefetch(reinterpret_cast<const void*>(line), static_cast<int>(access));
}

// Calls use(i) for every i from begin to end, and some rows before it ask(i), which asks for the
// memory that use(i) touches. Both should be short: what the processor looks ahead is a few hundred
// instructions, and it can only fetch as many rows at a time as fit in there.
template <class Ask, class Use>
inline void for_rows(int64_t begin, int64_t end, Ask ask, Use use) {
  constexpr int64_t kAhead = 16;
  for (int64_t i = begin; i < std::min(begin + kAhead, end); ++i) ask(i);
  for (int64_t i = begin; i < end; ++i) {
    if (i + kAhead < end) ask(i + kAhead);
    use(i);
  }
}

// Memory of a table, on the CPU, in large pages where the system has them.
[[nodiscard]] torch::Tensor empty_table(torch::IntArrayRef shape,
                                        torch::ScalarType type = torch::kFloat32);

// Rows of `table` [R, E], each of them contiguous, of any type, on the CPU: int64 [n] -> [n, E].
// Throws c10::IndexError for a row that the table has not.
[[nodiscard]] torch::Tensor gather_rows(const torch::Tensor& table, const torch::Tensor& rows);
// The inverse: row i of `values` [n, E] becomes row rows[i] of `table`. No row may stand there
// twice.
void scatter_rows(const torch::Tensor& table, const torch::Tensor& rows,
                  const torch::Tensor& values);

}  // namespace pinnerformer
