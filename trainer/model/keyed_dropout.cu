// One thread per element.
#include "dataloader/base/random.h"
#include "trainer/model/keyed_dropout_cuda.h"

namespace pinnerformer {
namespace {

template <class Out, class In>
__global__ void dropout_kernel(Out* output, const In* input, const float* residual, KeyedRows rows,
                               DropoutSite site) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= rows.rows * rows.row_elements) return;
  const int64_t row = index / rows.row_elements;
  const int64_t first = rows.first_element ? rows.first_element[row] : 0;
  const auto element = static_cast<uint32_t>(index % rows.row_elements + first);
  const uint64_t key = splitmix64(static_cast<uint64_t>(rows.keys[row]) ^ site.salt);
  const float dropped = static_cast<float>(input[index]) * keyed_factor(key, element, site);
  output[index] = static_cast<Out>(residual ? residual[index] + dropped : dropped);
}

}  // namespace

template <class Out, class In>
cudaError_t launch_keyed_dropout(Out* output, const In* input, const float* residual,
                                 const KeyedRows& rows, const DropoutSite& site,
                                 cudaStream_t stream) {
  constexpr int64_t kThreads = 256;
  const int64_t elements = rows.rows * rows.row_elements;
  if (elements == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((elements + kThreads - 1) / kThreads);
  dropout_kernel<<<blocks, kThreads, 0, stream>>>(output, input, residual, rows, site);
  return cudaGetLastError();
}

#define PF_INSTANTIATE(Out, In)                                                              \
  template cudaError_t launch_keyed_dropout(Out*, const In*, const float*, const KeyedRows&, \
                                            const DropoutSite&, cudaStream_t)
PF_INSTANTIATE(float, float);
PF_INSTANTIATE(float, __nv_bfloat16);
PF_INSTANTIATE(__nv_bfloat16, float);
PF_INSTANTIATE(__nv_bfloat16, __nv_bfloat16);
#undef PF_INSTANTIATE

}  // namespace pinnerformer
