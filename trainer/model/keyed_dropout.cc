#include "trainer/model/keyed_dropout.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>

#include "dataloader/base/random.h"
#include "trainer/device_kernels.h"
#include "trainer/model/keyed_dropout_hash.h"
#include "trainer/model/keyed_dropout_kernels.h"
#include "trainer/simd.h"

namespace pinnerformer {
namespace {

// The factors of elements first .. first + count. The hash takes most of the time.
PF_VECTOR_CLONES void multipliers(float* out, int64_t count, uint64_t key, uint32_t first,
                                  const DropoutSite& site) {
  const DropoutSite constants = site;
  for (int64_t i = 0; i < count; ++i)
    out[i] = keyed_factor(key, first + static_cast<uint32_t>(i), constants);
}

template <class Out, class In>
void apply_cpu(Out* output, const In* input, const float* residual, const int64_t* keys,
               const int64_t* first_element, int64_t rows, int64_t row_elements,
               const DropoutSite& site) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    std::array<float, 1024> factor;
    for (int64_t b = begin; b < end; ++b) {
      const uint64_t key = splitmix64(static_cast<uint64_t>(keys[b]) ^ site.salt);
      const int64_t first = first_element ? first_element[b] : 0;
      for (int64_t done = 0; done < row_elements; done += std::ssize(factor)) {
        const int64_t count = std::min(std::ssize(factor), row_elements - done);
        multipliers(factor.data(), count, key, static_cast<uint32_t>(first + done), site);
        const int64_t begin_of_part = b * row_elements + done;
        const auto dropped = [&](int64_t i) {
          return static_cast<float>(input[begin_of_part + i]) * factor[static_cast<size_t>(i)];
        };
        Out* to = output + begin_of_part;
        if (residual == nullptr)
          for (int64_t i = 0; i < count; ++i) to[i] = static_cast<Out>(dropped(i));
        else
          for (int64_t i = 0; i < count; ++i)
            to[i] = static_cast<Out>(residual[begin_of_part + i] + dropped(i));
      }
    }
  });
}

DeviceKernels<DropoutKernel>& kernels() {
#ifdef PF_WITH_CUDA
  static DeviceKernels<DropoutKernel> known("keyed dropout", &keyed_dropout_cpu,
                                            &keyed_dropout_cuda);
#else
  static DeviceKernels<DropoutKernel> known("keyed dropout", &keyed_dropout_cpu, nullptr);
#endif
  return known;
}

// `input` masked and scaled, in another type, added to `residual` where that is defined.
torch::Tensor masked(const torch::Tensor& input, torch::ScalarType type,
                     const torch::Tensor& residual, const torch::Tensor& keys,
                     const std::optional<torch::Tensor>& first_element, const DropoutSite& site) {
  TORCH_CHECK(keys.device() == input.device() &&
                  (!first_element || first_element->device() == input.device()),
              "the keys of a dropout are on another device than its input");
  DropoutTensors tensors{.output = {}, .input = input.contiguous(), .residual = {}};
  if (residual.defined()) tensors.residual = residual.contiguous();
  tensors.output = torch::empty_like(tensors.input, tensors.input.options().dtype(type));
  const int64_t rows = input.size(0);
  kernels().of(input.device())(tensors, keys, first_element, rows == 0 ? 0 : input.numel() / rows,
                               site);
  return tensors.output;
}

DropoutSite make_site(int64_t site, double p) {
  return {splitmix64(static_cast<uint64_t>(RandomStream::kDropout) * 1024 +
                     static_cast<uint64_t>(site)),
          static_cast<uint32_t>(p * 4294967296.0), static_cast<float>(1.0 / (1.0 - p))};
}

// Forward: residual + mask * input, without `residual` mask * input in the type of `input`.
struct KeyedDropout : torch::autograd::Function<KeyedDropout> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor input,
                               std::optional<torch::Tensor> residual, torch::Tensor keys,
                               int64_t site, double p, std::optional<torch::Tensor> first_element) {
    context->save_for_backward({keys, first_element.value_or(torch::Tensor())});
    context->saved_data["site"] = site;
    context->saved_data["p"] = p;
    context->saved_data["type"] = input.scalar_type();
    context->saved_data["adds"] = residual.has_value();
    return masked(input, residual ? residual->scalar_type() : input.scalar_type(),
                  residual.value_or(torch::Tensor()), keys, first_element, make_site(site, p));
  }
  // Computes the mask again, which is cheaper than storing it.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto site =
        make_site(context->saved_data["site"].toInt(), context->saved_data["p"].toDouble());
    const auto saved = context->get_saved_variables();
    std::optional<torch::Tensor> first_element;
    if (saved[1].defined()) first_element = saved[1];
    const torch::Tensor of_input = masked(grads[0], context->saved_data["type"].toScalarType(), {},
                                          saved[0], first_element, site);
    const bool adds = context->saved_data["adds"].toBool();
    return {of_input, adds ? grads[0] : torch::Tensor(), {}, {}, {}, {}};
  }
};

}  // namespace

void keyed_dropout_cpu(const DropoutTensors& tensors, const torch::Tensor& keys,
                       const std::optional<torch::Tensor>& first_element, int64_t row_elements,
                       const DropoutSite& site) {
  const int64_t* first = first_element ? first_element->const_data_ptr<int64_t>() : nullptr;
  const auto* key = keys.const_data_ptr<int64_t>();
  const float* residual =
      tensors.residual.defined() ? tensors.residual.const_data_ptr<float>() : nullptr;
  const auto apply = [&](auto* output, const auto* input) {
    apply_cpu(output, input, residual, key, first, tensors.input.size(0), row_elements, site);
  };
  const auto into = [&](auto* output) {
    if (tensors.input.scalar_type() == torch::kFloat32)
      apply(output, tensors.input.const_data_ptr<float>());
    else
      apply(output, tensors.input.const_data_ptr<c10::BFloat16>());
  };
  if (tensors.output.scalar_type() == torch::kFloat32)
    into(tensors.output.data_ptr<float>());
  else
    into(tensors.output.data_ptr<c10::BFloat16>());
}

void register_dropout_kernel(c10::DeviceType type, DropoutKernel* kernel) {
  kernels().set(type, kernel);
}

torch::Tensor keyed_dropout(const torch::Tensor& input, const torch::Tensor& draw_key, int64_t site,
                            double p, const std::optional<torch::Tensor>& first_element) {
  TORCH_CHECK(p >= 0 && p < 1, "dropout is in [0, 1), not ", p);
  if (p == 0) return input;
  return KeyedDropout::apply(input, std::nullopt, draw_key, site, p, first_element);
}

torch::Tensor add_dropped(const torch::Tensor& residual, const torch::Tensor& branch,
                          const torch::Tensor& draw_key, int64_t site, double p,
                          const std::optional<torch::Tensor>& first_element) {
  const bool fits =
      residual.scalar_type() == torch::kFloat32 && residual.sizes() == branch.sizes() && p > 0;
  if (residual.is_cpu() || !fits)
    return residual + keyed_dropout(branch, draw_key, site, p, first_element);
  return add_dropped_at_once(residual, branch, draw_key, site, p, first_element);
}

torch::Tensor add_dropped_at_once(const torch::Tensor& residual, const torch::Tensor& branch,
                                  const torch::Tensor& draw_key, int64_t site, double p,
                                  const std::optional<torch::Tensor>& first_element) {
  return KeyedDropout::apply(branch, std::optional(residual), draw_key, site, p, first_element);
}

}  // namespace pinnerformer
