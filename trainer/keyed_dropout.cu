// Keyed dropout on the GPU: one thread per element.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "dataloader/random.h"
#include "trainer/keyed_dropout_cuda.h"
#include "trainer/keyed_dropout_hash.h"

namespace pinnerformer {
namespace {

template <class Scalar>
__global__ void mask_kernel(Scalar* values, const int64_t* keys, int64_t row_elements,
                            DropoutSite site) {
  const int64_t row = blockIdx.y;
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (element >= row_elements) return;
  const uint64_t key = splitmix64(static_cast<uint64_t>(keys[row]) ^ site.salt);
  const bool kept = keyed_bits(key, static_cast<uint32_t>(element)) >= site.drop_below;
  Scalar& value = values[row * row_elements + element];
  value = static_cast<Scalar>(static_cast<float>(value) * (kept ? site.scale : 0.0F));
}

}  // namespace

void keyed_dropout_cuda(const torch::Tensor& values, const torch::Tensor& keys,
                        int64_t row_elements, const DropoutSite& site) {
  if (values.numel() == 0) return;
  constexpr int kThreads = 256;
  const dim3 grid(static_cast<unsigned>((row_elements + kThreads - 1) / kThreads),
                  static_cast<unsigned>(values.size(0)));
  const auto stream = c10::cuda::getCurrentCUDAStream().stream();
  if (values.scalar_type() == torch::kFloat32) {
    mask_kernel<<<grid, kThreads, 0, stream>>>(values.data_ptr<float>(), keys.data_ptr<int64_t>(),
                                               row_elements, site);
  } else {
    mask_kernel<<<grid, kThreads, 0, stream>>>(values.data_ptr<c10::BFloat16>(),
                                               keys.data_ptr<int64_t>(), row_elements, site);
  }
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace pinnerformer
