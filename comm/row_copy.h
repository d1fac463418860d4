// Copies of single rows to and from a table that is far larger than the cache.
#pragma once
#include <torch/types.h>

namespace pinnerformer {

// Rows of `table` [R, E], float32 on the CPU, contiguous: int64 [n] -> [n, E]. Rows must exist.
[[nodiscard]] torch::Tensor take_rows(const torch::Tensor& table, const torch::Tensor& rows);
// The inverse: row i of `values` [n, E] becomes row rows[i] of `table`. No row may stand there
// twice.
void put_rows(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& values);

}  // namespace pinnerformer
