// The softmax of a chunk of pairs on a GPU, without LibTorch: nvcc would take a minute and a half
// for its headers.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace pinnerformer {

// SoftmaxRows as pointers of the GPU; null where a tensor is undefined.
struct SoftmaxPointers {
  const float* scale = nullptr;
  const float* log_q = nullptr;
  const float* prior = nullptr;
  const int64_t* prior_row = nullptr;
  const bool* mask = nullptr;
  const int64_t* mask_row = nullptr;
  const int64_t* positive_item = nullptr;
  const int64_t* pool_item = nullptr;
  const float* positive_logit = nullptr;
  const float* weight = nullptr;
  float* normaliser = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
};

// products, pull [rows, columns], as in SoftmaxRows. For float and __nv_bfloat16.
template <class Pull, class Product>
cudaError_t launch_softmax_rows(Pull* pull, const Product* products,
                                const SoftmaxPointers& pointers, cudaStream_t stream);

}  // namespace pinnerformer
