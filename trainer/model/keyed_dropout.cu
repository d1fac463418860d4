// Keyed dropout on the GPU: one thread per element.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>

#include "dataloader/base/random.h"
#include "trainer/model/keyed_dropout_hash.h"
#include "trainer/model/keyed_dropout_kernels.h"

namespace pinnerformer {
namespace {

template <class Scalar>
__global__ void mask_kernel(Scalar* values, const int64_t* keys, const int64_t* first_element,
                            int64_t rows, int64_t row_elements, DropoutSite site) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= rows * row_elements) return;
  const int64_t row = index / row_elements;
  const int64_t element = index % row_elements + (first_element ? first_element[row] : 0);
  const uint64_t key = splitmix64(static_cast<uint64_t>(keys[row]) ^ site.salt);
  const bool kept = keyed_bits(key, static_cast<uint32_t>(element)) >= site.drop_below;
  Scalar& value = values[index];
  value = static_cast<Scalar>(static_cast<float>(value) * (kept ? site.scale : 0.0F));
}

}  // namespace

void keyed_dropout_cuda(const torch::Tensor& values, const torch::Tensor& keys,
                        const std::optional<torch::Tensor>& first_element, int64_t row_elements,
                        const DropoutSite& site) {
  if (values.numel() == 0) return;
  constexpr int64_t kThreads = 256;
  const auto blocks = static_cast<unsigned>((values.numel() + kThreads - 1) / kThreads);
  const auto stream = c10::cuda::getCurrentCUDAStream().stream();
  const int64_t rows = values.size(0);
  const int64_t* first = first_element ? first_element->data_ptr<int64_t>() : nullptr;
  if (values.scalar_type() == torch::kFloat32) {
    mask_kernel<<<blocks, kThreads, 0, stream>>>(values.data_ptr<float>(), keys.data_ptr<int64_t>(),
                                                 first, rows, row_elements, site);
  } else {
    mask_kernel<<<blocks, kThreads, 0, stream>>>(values.data_ptr<c10::BFloat16>(),
                                                 keys.data_ptr<int64_t>(), first, rows,
                                                 row_elements, site);
  }
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace pinnerformer
