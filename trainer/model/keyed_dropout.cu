// One thread per element.
#include "dataloader/base/random.h"
#include "trainer/model/keyed_dropout_cuda.h"

namespace pinnerformer {
namespace {

template <class Scalar>
__global__ void mask_kernel(Scalar* values, KeyedRows rows, DropoutSite site) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= rows.rows * rows.row_elements) return;
  const int64_t row = index / rows.row_elements;
  const int64_t first = rows.first_element ? rows.first_element[row] : 0;
  const int64_t element = index % rows.row_elements + first;
  const uint64_t key = splitmix64(static_cast<uint64_t>(rows.keys[row]) ^ site.salt);
  const bool kept = keyed_bits(key, static_cast<uint32_t>(element)) >= site.drop_below;
  Scalar& value = values[index];
  value = static_cast<Scalar>(static_cast<float>(value) * (kept ? site.scale : 0.0F));
}

template <class Scalar>
cudaError_t launch(Scalar* values, const KeyedRows& rows, const DropoutSite& site,
                   cudaStream_t stream) {
  constexpr int64_t kThreads = 256;
  const int64_t elements = rows.rows * rows.row_elements;
  if (elements == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((elements + kThreads - 1) / kThreads);
  mask_kernel<<<blocks, kThreads, 0, stream>>>(values, rows, site);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_keyed_dropout(float* values, const KeyedRows& rows, const DropoutSite& site,
                                 cudaStream_t stream) {
  return launch(values, rows, site, stream);
}

cudaError_t launch_keyed_dropout(__nv_bfloat16* values, const KeyedRows& rows,
                                 const DropoutSite& site, cudaStream_t stream) {
  return launch(values, rows, site, stream);
}

}  // namespace pinnerformer
