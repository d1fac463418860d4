#ifdef PF_WITH_CUDA
#include "trainer/model/keyed_dropout_cuda.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>

#include "trainer/model/keyed_dropout_kernels.h"

namespace pinnerformer {

void keyed_dropout_cuda(const torch::Tensor& values, const torch::Tensor& keys,
                        const std::optional<torch::Tensor>& first_element, int64_t row_elements,
                        const DropoutSite& site) {
  const KeyedRows rows{
      .keys = keys.const_data_ptr<int64_t>(),
      .first_element = first_element ? first_element->const_data_ptr<int64_t>() : nullptr,
      .rows = values.size(0),
      .row_elements = row_elements};
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
  if (values.scalar_type() == torch::kFloat32) {
    C10_CUDA_CHECK(launch_keyed_dropout(values.data_ptr<float>(), rows, site, stream));
  } else {
    auto* bfloats = reinterpret_cast<__nv_bfloat16*>(values.data_ptr<c10::BFloat16>());
    C10_CUDA_CHECK(launch_keyed_dropout(bfloats, rows, site, stream));
  }
}

}  // namespace pinnerformer
#endif
