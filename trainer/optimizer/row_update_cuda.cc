#ifdef PF_WITH_CUDA
#include "trainer/optimizer/row_update_cuda.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "trainer/optimizer/row_update.h"

namespace pinnerformer {
namespace {

float* floats_of(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
}

}  // namespace

void update_rows_cuda(const RowStorage& table, const RowGradients& gradients, const RowRule& rule) {
  torch::Tensor used;
  if (rule.updates_unused)
    used = torch::zeros({table.records.size(0)}, table.records.options().dtype(torch::kUInt8));
  const RowPointers pointers{.records = floats_of(table.records),
                             .first_moments = floats_of(table.first_moments),
                             .second_moments = floats_of(table.second_moments),
                             .table_rows = table.records.size(0),
                             .width = table.width(),
                             .gradients = floats_of(gradients.values),
                             .rows = gradients.rows.const_data_ptr<int64_t>(),
                             .first = gradients.first.const_data_ptr<int64_t>(),
                             .order = gradients.order.const_data_ptr<int64_t>(),
                             .used_rows = gradients.rows.numel(),
                             .norm = floats_of(gradients.norm),
                             .used = used.defined() ? used.data_ptr<uint8_t>() : nullptr};
  C10_CUDA_CHECK(launch_row_update(pointers, rule, c10::cuda::getCurrentCUDAStream().stream()));
}

}  // namespace pinnerformer
#endif
