// Updates rows of an item table by their gradients, on each type of device.
#pragma once
#include <torch/types.h>

#include "trainer/optimizer/row_rule.h"

namespace pinnerformer {

// R rows of E values.
struct RowStorage {
  torch::Tensor records;         // float32 [R, E + kRowCounters]
  torch::Tensor first_moments;   // float32 [R, E], with Adam; else undefined
  torch::Tensor second_moments;  // the same

  [[nodiscard]] int64_t width() const { return records.size(1) - kRowCounters; }
};

// n gradients of k distinct rows. Those of row rows[i] are gradients order[first[i]] to
// order[first[i + 1] - 1], which are added in this order.
struct RowGradients {
  torch::Tensor values;  // float32 [n, E]; overwritten
  torch::Tensor rows;    // int64 [k]
  torch::Tensor first;   // int64 [k + 1]
  torch::Tensor order;   // int64 [n]
  torch::Tensor norm;    // float32 scalar; undefined: finite
};

// A row whose gradient is zero or not finite is neither updated nor counted, unless the rule
// updates unused rows: then each row that was updated before is. Where `norm` is not finite no row
// changes. On the current stream of the device; all tensors are contiguous and on one device:
// c10::Error.
void update_rows(const RowStorage& table, const RowGradients& gradients, const RowRule& rule);

using RowKernel = void(const RowStorage& table, const RowGradients& gradients, const RowRule& rule);

RowKernel update_rows_cpu;
#ifdef PF_WITH_CUDA
RowKernel update_rows_cuda;
#endif

// For devices that this library does not know; before the first use of such a device.
void register_row_kernel(c10::DeviceType type, RowKernel* kernel);

}  // namespace pinnerformer
