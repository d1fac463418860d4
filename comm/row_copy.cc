#include "comm/row_copy.h"

#include <ATen/Parallel.h>

#include <cstring>

namespace pinnerformer {
namespace {

constexpr int64_t kRowsPerTask = 1024;
constexpr int64_t kAhead = 8;  // rows asked for before they are needed: memory answers late
constexpr size_t kCacheLine = 64;

void check(const torch::Tensor& rows_of, const torch::Tensor& index) {
  TORCH_CHECK(rows_of.dim() == 2 && rows_of.scalar_type() == torch::kFloat32 &&
                  rows_of.is_contiguous() && rows_of.device().is_cpu(),
              "rows are contiguous float32 on the CPU");
  TORCH_CHECK(index.scalar_type() == torch::kInt64 && index.is_contiguous(), "rows are int64 [n]");
}

template <int write>
void prefetch(const char* row, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(row + at, write);
}

}  // namespace

torch::Tensor take_rows(const torch::Tensor& table, const torch::Tensor& rows) {
  check(table, rows);
  const int64_t count = rows.numel();
  torch::Tensor taken = torch::empty({count, table.size(1)}, table.options());
  const auto bytes = static_cast<size_t>(table.size(1)) * sizeof(float);
  const auto stride = static_cast<int64_t>(bytes);
  const int64_t* index = rows.const_data_ptr<int64_t>();
  const char* from = static_cast<const char*>(table.const_data_ptr());
  char* to = static_cast<char*>(taken.data_ptr());
  at::parallel_for(0, count, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) prefetch<0>(from + index[i + kAhead] * stride, bytes);
      std::memcpy(to + i * stride, from + index[i] * stride, bytes);
    }
  });
  return taken;
}

void put_rows(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& values) {
  check(table, rows);
  check(values, rows);
  const auto bytes = static_cast<size_t>(table.size(1)) * sizeof(float);
  const auto stride = static_cast<int64_t>(bytes);
  const int64_t* index = rows.const_data_ptr<int64_t>();
  const char* from = static_cast<const char*>(values.const_data_ptr());
  char* to = static_cast<char*>(table.data_ptr());
  at::parallel_for(0, rows.numel(), kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) prefetch<1>(to + index[i + kAhead] * stride, bytes);
      std::memcpy(to + index[i] * stride, from + i * stride, bytes);
    }
  });
}

}  // namespace pinnerformer
