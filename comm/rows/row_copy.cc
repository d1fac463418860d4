#include "comm/rows/row_copy.h"

#include <ATen/Parallel.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "comm/packed_transfer.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRowsPerTask = 1024;

void check(const torch::Tensor& table, const torch::Tensor& index) {
  TORCH_CHECK(table.dim() == 2 && table.stride(1) == 1 && table.device().is_cpu(),
              "a table is [R, E], each row contiguous, on the CPU");
  TORCH_CHECK(
      index.scalar_type() == torch::kInt64 && index.is_contiguous() && index.device().is_cpu(),
      "rows are int64 [n], contiguous, on the CPU");
  require_rows_of(table, index);
}

size_t row_bytes(const torch::Tensor& table) {
  return static_cast<size_t>(table.size(1) * table.element_size());
}

// From one row to the next.
int64_t row_stride(const torch::Tensor& table) { return table.stride(0) * table.element_size(); }

}  // namespace

void require_rows_of(const torch::Tensor& table, const torch::Tensor& rows) {
  const int64_t* row = rows.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < rows.numel(); ++i)
    TORCH_CHECK_INDEX(row[i] >= 0 && row[i] < table.size(0), "row ", row[i], " of a table of ",
                      table.size(0), " rows was requested");
}

// With pages of 4 KiB almost every row access would miss the TLB as well as the cache. Other
// systems than Linux have no such call.
torch::Tensor empty_table(torch::IntArrayRef shape, torch::ScalarType type) {
  torch::Tensor table = torch::empty(shape, type);
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t kPage = 2 << 20;
  const auto begin = reinterpret_cast<uintptr_t>(table.const_data_ptr());
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage, end = begin + table.nbytes();
  if (first + kPage <= end)
    madvise(reinterpret_cast<void*>(first), (end - first) / kPage * kPage, MADV_HUGEPAGE);
#endif
  return table;
}

torch::Tensor gather_rows(const torch::Tensor& table, const torch::Tensor& rows, bool pinned) {
  check(table, rows);
  const int64_t count = rows.numel();
  torch::Tensor taken = torch::empty({count, table.size(1)}, table.options().pinned_memory(pinned));
  const size_t bytes = row_bytes(table);
  const int64_t stride = row_stride(table), packed = static_cast<int64_t>(bytes);
  const int64_t* index = rows.const_data_ptr<int64_t>();
  const char* from = static_cast<const char*>(table.const_data_ptr());
  char* to = static_cast<char*>(taken.data_ptr());
  at::parallel_for(0, count, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for_rows(
        begin, end, [&](int64_t i) { prefetch<Access::kRead>(from + index[i] * stride, bytes); },
        [&](int64_t i) { std::memcpy(to + i * packed, from + index[i] * stride, bytes); });
  });
  return taken;
}

torch::Tensor take_rows(const torch::Tensor& table, const torch::Tensor& rows) {
  if (table.is_cpu()) return gather_rows(table, rows);
  require_rows_of(table, rows);
  torch::Tensor on_device = rows;
  PackedTransfer transfer(table.device());
  transfer.add(on_device);
  transfer.run();
  return table.index_select(0, on_device);
}

}  // namespace pinnerformer
