#include "trainer/model/keyed_dropout.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>

#include "dataloader/base/random.h"
#include "trainer/model/keyed_dropout_hash.h"
#include "trainer/model/keyed_dropout_kernels.h"
#include "trainer/simd.h"

namespace pinnerformer {
namespace {

// The factors of elements first .. first + count. The hash takes most of the time.
PF_VECTOR_CLONES void multipliers(float* out, int64_t count, uint64_t key, uint32_t first,
                                  const DropoutSite& site) {
  const uint32_t drop_below = site.drop_below;
  const float scale = site.scale;
  for (int64_t i = 0; i < count; ++i)
    out[i] = keyed_bits(key, first + static_cast<uint32_t>(i)) >= drop_below ? scale : 0.0F;
}

template <class Scalar>
void apply_cpu(Scalar* values, const int64_t* keys, const int64_t* first_element, int64_t rows,
               int64_t row_elements, const DropoutSite& site) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    std::array<float, 1024> factor;
    for (int64_t b = begin; b < end; ++b) {
      const uint64_t key = splitmix64(static_cast<uint64_t>(keys[b]) ^ site.salt);
      const int64_t first = first_element ? first_element[b] : 0;
      for (int64_t done = 0; done < row_elements; done += std::ssize(factor)) {
        const int64_t count = std::min(std::ssize(factor), row_elements - done);
        multipliers(factor.data(), count, key, static_cast<uint32_t>(first + done), site);
        Scalar* part = values + b * row_elements + done;
        for (int64_t i = 0; i < count; ++i)
          part[i] =
              static_cast<Scalar>(static_cast<float>(part[i]) * factor[static_cast<size_t>(i)]);
      }
    }
  });
}

using Kernels = std::array<DropoutKernel*, c10::COMPILE_TIME_MAX_DEVICE_TYPES>;

Kernels& kernels() {
  static Kernels by_type = [] {
    Kernels known{};
    known[static_cast<size_t>(torch::kCPU)] = &keyed_dropout_cpu;
#ifdef PF_WITH_CUDA
    known[static_cast<size_t>(torch::kCUDA)] = &keyed_dropout_cuda;
#endif
    return known;
  }();
  return by_type;
}

// A masked and scaled copy of `input`.
torch::Tensor masked(const torch::Tensor& input, const torch::Tensor& keys,
                     const std::optional<torch::Tensor>& first_element, const DropoutSite& site) {
  torch::Tensor output = input.contiguous().clone();
  TORCH_CHECK(keys.device() == output.device() &&
                  (!first_element || first_element->device() == output.device()),
              "the keys of a dropout are on another device than its input");
  const int64_t rows = output.size(0);
  DropoutKernel* kernel = kernels()[static_cast<size_t>(output.device().type())];
  TORCH_CHECK(kernel != nullptr, "keyed dropout has no kernel for ", output.device());
  kernel(output, keys, first_element, rows == 0 ? 0 : output.numel() / rows, site);
  return output;
}

DropoutSite make_site(int64_t site, double p) {
  return {splitmix64(static_cast<uint64_t>(RandomStream::kDropout) * 1024 +
                     static_cast<uint64_t>(site)),
          static_cast<uint32_t>(p * 4294967296.0), static_cast<float>(1.0 / (1.0 - p))};
}

struct KeyedDropout : torch::autograd::Function<KeyedDropout> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor input,
                               torch::Tensor keys, int64_t site, double p,
                               std::optional<torch::Tensor> first_element) {
    context->save_for_backward({keys, first_element.value_or(torch::Tensor())});
    context->saved_data["site"] = site;
    context->saved_data["p"] = p;
    return masked(input, keys, first_element, make_site(site, p));
  }
  // Computes the mask again, which is cheaper than storing it.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto site =
        make_site(context->saved_data["site"].toInt(), context->saved_data["p"].toDouble());
    const auto saved = context->get_saved_variables();
    std::optional<torch::Tensor> first_element;
    if (saved[1].defined()) first_element = saved[1];
    return {masked(grads[0], saved[0], first_element, site), {}, {}, {}, {}};
  }
};

}  // namespace

void keyed_dropout_cpu(const torch::Tensor& values, const torch::Tensor& keys,
                       const std::optional<torch::Tensor>& first_element, int64_t row_elements,
                       const DropoutSite& site) {
  const int64_t* first = first_element ? first_element->const_data_ptr<int64_t>() : nullptr;
  const auto* key = keys.const_data_ptr<int64_t>();
  const int64_t rows = values.size(0);
  if (values.scalar_type() == torch::kFloat32)
    apply_cpu(values.data_ptr<float>(), key, first, rows, row_elements, site);
  else
    apply_cpu(values.data_ptr<c10::BFloat16>(), key, first, rows, row_elements, site);
}

void register_dropout_kernel(c10::DeviceType type, DropoutKernel* kernel) {
  kernels()[static_cast<size_t>(type)] = kernel;
}

torch::Tensor keyed_dropout(const torch::Tensor& input, const torch::Tensor& draw_key, int64_t site,
                            double p, const std::optional<torch::Tensor>& first_element) {
  TORCH_CHECK(p >= 0 && p < 1, "dropout is in [0, 1), not ", p);
  if (p == 0) return input;
  return KeyedDropout::apply(input, draw_key, site, p, first_element);
}

}  // namespace pinnerformer
