// Linear layers, by whichever of LibTorch's libraries is the fastest at them on this machine.
#pragma once
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

namespace pinnerformer {

// Whether large float32 products on the CPU are oneDNN's. It copies their operands and keeps a
// kernel for each shape.
[[nodiscard]] bool products_by_onednn();

// x W^T + b: input [..., in], weight [out, in], bias [out] -> [..., out].
[[nodiscard]] torch::Tensor linear(const torch::Tensor& input, const torch::Tensor& weight,
                                   const torch::Tensor& bias);

// The same by oneDNN, float32 on the CPU.
[[nodiscard]] torch::Tensor linear_by_onednn(const torch::Tensor& input,
                                             const torch::Tensor& weight,
                                             const torch::Tensor& bias);

// LibTorch's module of this name, with linear() inside.
class LinearImpl : public torch::nn::LinearImpl {
 public:
  using torch::nn::LinearImpl::LinearImpl;
  torch::Tensor forward(const torch::Tensor& input) { return linear(input, weight, bias); }
};
TORCH_MODULE(Linear);

}  // namespace pinnerformer
