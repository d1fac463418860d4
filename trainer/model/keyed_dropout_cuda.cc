#ifdef PF_WITH_CUDA
#include "trainer/model/keyed_dropout_cuda.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>

#include "trainer/model/keyed_dropout_kernels.h"

namespace pinnerformer {
namespace {

template <class Out>
cudaError_t launch_into(Out* output, const DropoutTensors& tensors, const KeyedRows& rows,
                        const DropoutSite& site) {
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
  const float* residual =
      tensors.residual.defined() ? tensors.residual.const_data_ptr<float>() : nullptr;
  if (tensors.input.scalar_type() == torch::kFloat32)
    return launch_keyed_dropout(output, tensors.input.const_data_ptr<float>(), residual, rows, site,
                                stream);
  const auto* bfloats =
      reinterpret_cast<const __nv_bfloat16*>(tensors.input.const_data_ptr<c10::BFloat16>());
  return launch_keyed_dropout(output, bfloats, residual, rows, site, stream);
}

}  // namespace

void keyed_dropout_cuda(const DropoutTensors& tensors, const torch::Tensor& keys,
                        const std::optional<torch::Tensor>& first_element, int64_t row_elements,
                        const DropoutSite& site) {
  const KeyedRows rows{
      .keys = keys.const_data_ptr<int64_t>(),
      .first_element = first_element ? first_element->const_data_ptr<int64_t>() : nullptr,
      .rows = tensors.input.size(0),
      .row_elements = row_elements};
  const torch::Tensor& output = tensors.output;
  if (output.scalar_type() == torch::kFloat32)
    C10_CUDA_CHECK(launch_into(output.data_ptr<float>(), tensors, rows, site));
  else
    C10_CUDA_CHECK(launch_into(reinterpret_cast<__nv_bfloat16*>(output.data_ptr<c10::BFloat16>()),
                               tensors, rows, site));
}

}  // namespace pinnerformer
#endif
