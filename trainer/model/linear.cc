#include "trainer/model/linear.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mkldnn_linear.h>
#include <ATen/ops/mkldnn_linear_backward.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/functional/linear.h>

namespace pinnerformer {
namespace {

// oneDNN compiles a kernel for every new shape and keeps a thousand of them, about 100 MiB. Batches
// have many different lengths, so for small products this takes more time than it saves.
constexpr int64_t kLeastMultiplyAdds = int64_t{1} << 27;

// Keeps for backward what it needs. LibTorch's own conversion back to a dense tensor keeps the
// output as well: that would be a quarter of all activations.
struct OnednnLinear : torch::autograd::Function<OnednnLinear> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& input, const torch::Tensor& weight,
                               const torch::Tensor& bias) {
    const torch::Tensor packed = input.to_mkldnn();
    context->save_for_backward({packed, weight});
    return at::mkldnn_linear(packed, weight, bias).to_dense();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    auto [input, weight, bias] = at::mkldnn_linear_backward(
        saved[0], gradients[0].to_mkldnn(), saved[1],
        {context->needs_input_grad(0), context->needs_input_grad(1), context->needs_input_grad(2)});
    return {input.defined() ? input.to_dense() : input, weight, bias};
  }
};

}  // namespace

// LibTorch uses MKL for float32, which uses 256-bit registers on processors of other makers than
// Intel. Where those have 512 bits, oneDNN is twice as fast.
bool products_by_onednn() {
#ifdef __x86_64__
  static const bool faster = __builtin_cpu_is("amd") != 0 &&
                             __builtin_cpu_supports("avx512f") != 0 &&
                             at::globalContext().hasMKLDNN();
  return faster;
#else
  return false;
#endif
}

torch::Tensor linear(const torch::Tensor& input, const torch::Tensor& weight,
                     const torch::Tensor& bias) {
  // Adds the bias within the product; the functional form takes another pass for it.
  if (!input.is_cpu()) return at::linear(input, weight, bias);
  const bool float32 =
      input.scalar_type() == torch::kFloat32 && !at::autocast::is_autocast_enabled(at::kCPU);
  const bool large = input.numel() * weight.size(0) >= kLeastMultiplyAdds;
  if (float32 && large && products_by_onednn()) return linear_by_onednn(input, weight, bias);
  return torch::nn::functional::linear(input, weight, bias);
}

torch::Tensor linear_by_onednn(const torch::Tensor& input, const torch::Tensor& weight,
                               const torch::Tensor& bias) {
  return OnednnLinear::apply(input, weight, bias);
}

}  // namespace pinnerformer
