#ifdef PF_WITH_CUDA
#include "trainer/objective/softmax_rows_cuda.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "trainer/objective/softmax_rows.h"

namespace pinnerformer {
namespace {

template <class T>
const T* pointer_of(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

SoftmaxPointers pointers_of(const SoftmaxRows& rows) {
  return {.scale = pointer_of<float>(rows.scale),
          .log_q = pointer_of<float>(rows.log_q),
          .prior = pointer_of<float>(rows.prior),
          .prior_row = pointer_of<int64_t>(rows.prior_row),
          .mask = pointer_of<bool>(rows.mask),
          .mask_row = pointer_of<int64_t>(rows.mask_row),
          .positive_item = pointer_of<int64_t>(rows.positive_item),
          .pool_item = pointer_of<int64_t>(rows.pool_item),
          .positive_logit = pointer_of<float>(rows.positive_logit),
          .weight = pointer_of<float>(rows.weight),
          .normaliser = rows.normaliser.data_ptr<float>(),
          .rows = rows.products.size(0),
          .columns = rows.products.size(1)};
}

template <class Pull>
cudaError_t launch_into(Pull* pull, const SoftmaxRows& rows) {
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
  const SoftmaxPointers pointers = pointers_of(rows);
  if (rows.products.scalar_type() == torch::kFloat32)
    return launch_softmax_rows(pull, rows.products.const_data_ptr<float>(), pointers, stream);
  const auto* bfloats =
      reinterpret_cast<const __nv_bfloat16*>(rows.products.const_data_ptr<c10::BFloat16>());
  return launch_softmax_rows(pull, bfloats, pointers, stream);
}

}  // namespace

void softmax_rows_cuda(const SoftmaxRows& rows) {
  if (rows.pull.scalar_type() == torch::kFloat32)
    C10_CUDA_CHECK(launch_into(rows.pull.data_ptr<float>(), rows));
  else
    C10_CUDA_CHECK(
        launch_into(reinterpret_cast<__nv_bfloat16*>(rows.pull.data_ptr<c10::BFloat16>()), rows));
}

}  // namespace pinnerformer
#endif
