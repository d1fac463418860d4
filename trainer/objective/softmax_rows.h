// Softmax and its gradient for a chunk of pairs, on each type of device: one pass over the products
// where LibTorch's operators would make about twelve.
#pragma once
#include <torch/types.h>

namespace pinnerformer {

// Pairs [p] against a pool [N]. All tensors are contiguous and on one device.
struct SoftmaxRows {
  torch::Tensor products;   // float32 or bfloat16 [p, N], of user and pool vectors
  torch::Tensor scale;      // float32 scalar, inverse temperature
  torch::Tensor log_q;      // float32 [N]
  torch::Tensor prior;      // float32 [K, N]; undefined: none
  torch::Tensor prior_row;  // int64 [p], row of `prior`
  // Columns that are not negatives of a pair: those that its row of the mask marks, or, where the
  // mask is undefined, those that hold the pair's item.
  torch::Tensor mask;            // bool [rows, N]
  torch::Tensor mask_row;        // int64 [p]
  torch::Tensor positive_item;   // int64 [p]
  torch::Tensor pool_item;       // int64 [N]
  torch::Tensor positive_logit;  // float32 [p]
  torch::Tensor weight;          // float32 [p]
  // Results.
  torch::Tensor normaliser;  // float32 [p], log of the sum of exp over the positive and the columns
  torch::Tensor pull;  // float32 or bfloat16 [p, N], weight * softmax; may be `products` itself
};

// Fills `normaliser` and `pull`, on the current stream of the device. c10::Error where a tensor has
// gaps or lies elsewhere.
void softmax_rows(const SoftmaxRows& rows);

using SoftmaxKernel = void(const SoftmaxRows& rows);

SoftmaxKernel softmax_rows_cpu;
#ifdef PF_WITH_CUDA
SoftmaxKernel softmax_rows_cuda;
#endif

// For devices that this library does not know; before the first use of such a device.
void register_softmax_kernel(c10::DeviceType type, SoftmaxKernel* kernel);

}  // namespace pinnerformer
