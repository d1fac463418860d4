#include "trainer/model/linear_recurrence.h"

#include <ATen/Parallel.h>
#include <ATen/ops/constant_pad_nd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "trainer/simd.h"

namespace pinnerformer {
namespace {

// K complex numbers: the real parts, and the imaginary ones K floats behind.
PF_VECTOR_CLONES void recurrence_step(float* __restrict out, const float* __restrict input,
                                      const float* __restrict before,
                                      const float* __restrict weight, int64_t channels) {
  for (int64_t k = 0; k < channels; ++k) {
    const float wr = weight[k], wi = weight[channels + k];
    const float hr = before[k], hi = before[channels + k];
    out[k] = input[k] + wr * hr - wi * hi;
    out[channels + k] = input[channels + k] + wr * hi + wi * hr;
  }
}

// grad += conj(weight) * later, and the gradient of the weight gains later * conj(before).
PF_VECTOR_CLONES void recurrence_step_back(float* __restrict grad, const float* __restrict later,
                                           const float* __restrict weight, int64_t channels) {
  for (int64_t k = 0; k < channels; ++k) {
    const float wr = weight[k], wi = weight[channels + k];
    const float gr = later[k], gi = later[channels + k];
    grad[k] += wr * gr + wi * gi;
    grad[channels + k] += wr * gi - wi * gr;
  }
}

PF_VECTOR_CLONES void add_weight_gradient(float* __restrict by_weight, const float* __restrict grad,
                                          const float* __restrict before, int64_t channels) {
  for (int64_t k = 0; k < channels; ++k) {
    const float gr = grad[k], gi = grad[channels + k];
    const float hr = before[k], hi = before[channels + k];
    by_weight[k] += gr * hr + gi * hi;
    by_weight[channels + k] += gi * hr - gr * hi;
  }
}

// Sizes of [B, S, 2K].
struct RecurrenceShape {
  int64_t users, length, width;
  explicit RecurrenceShape(const torch::Tensor& t)
      : users(t.size(0)), length(t.size(1)), width(t.size(2)) {}
};

struct RecurrenceOverTime : torch::autograd::Function<RecurrenceOverTime> {
  using Context = torch::autograd::AutogradContext;

  static torch::Tensor forward(Context* context, const torch::Tensor& given,
                               const torch::Tensor& given_weight,
                               const torch::Tensor& given_before) {
    const torch::Tensor input = given.contiguous(), weight = given_weight.contiguous(),
                        before = given_before.contiguous();
    const RecurrenceShape of(input);
    torch::Tensor output = torch::empty_like(input);
    const float* in = input.data_ptr<float>();
    const float* w = weight.data_ptr<float>();
    const float* first = before.data_ptr<float>();
    float* out = output.data_ptr<float>();
    at::parallel_for(0, of.users, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        for (int64_t s = 0, row = b * of.length * of.width; s < of.length; ++s, row += of.width)
          recurrence_step(out + row, in + row, s > 0 ? out + row - of.width : first + b * of.width,
                          w, of.width / 2);
    });
    context->save_for_backward({output, weight, before});
    return output;
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 torch::autograd::variable_list above) {
    const auto saved = context->get_saved_variables();
    const RecurrenceShape of(saved[0]);
    torch::Tensor grad = above[0].contiguous().clone();
    torch::Tensor by_before = torch::zeros_like(saved[2]);
    torch::Tensor by_weight = torch::zeros({of.users, of.width});  // summed in the order of users
    const float* h = saved[0].data_ptr<float>();
    const float* w = saved[1].data_ptr<float>();
    const float* first = saved[2].data_ptr<float>();
    float* g = grad.data_ptr<float>();
    float* gb = by_before.data_ptr<float>();
    float* gw = by_weight.data_ptr<float>();
    const int64_t channels = of.width / 2;
    at::parallel_for(0, of.users, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        for (int64_t s = of.length - 1, row = (b * of.length + s) * of.width; s >= 0;
             --s, row -= of.width) {
          const float* before = s > 0 ? h + row - of.width : first + b * of.width;
          add_weight_gradient(gw + b * of.width, g + row, before, channels);
          recurrence_step_back(s > 0 ? g + row - of.width : gb + b * of.width, g + row, w,
                               channels);
        }
    });
    return {grad, by_weight.sum(0), by_before};
  }
};

// Element by element, over the last dimension.
torch::Tensor complex_product(const torch::Tensor& a, const torch::Tensor& b) {
  const auto x = a.chunk(2, -1), y = b.chunk(2, -1);
  return torch::cat({x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]}, -1);
}

}  // namespace

torch::Tensor linear_recurrence(const torch::Tensor& input, const torch::Tensor& weight,
                                const torch::Tensor& before) {
  if (!input.is_cpu()) return linear_recurrence_by_doubling(input, weight, before);
  return RecurrenceOverTime::apply(
      input, weight,
      before.defined() ? before : torch::zeros({input.size(0), input.size(2)}, input.options()));
}

torch::Tensor linear_recurrence_by_doubling(const torch::Tensor& input, const torch::Tensor& weight,
                                            const torch::Tensor& before) {
  const int64_t length = input.size(1);
  torch::Tensor sums = input, power = weight;
  if (before.defined() && length > 0) {
    const torch::Tensor first =
        input.narrow(1, 0, 1) + complex_product(weight, before).unsqueeze(1);
    sums = torch::cat({first, input.narrow(1, 1, length - 1)}, 1);
  }
  for (int64_t step = 1; step < length; step *= 2) {
    const torch::Tensor earlier =
        torch::constant_pad_nd(sums.narrow(1, 0, length - step), {0, 0, step, 0});
    sums = sums + complex_product(power, earlier);
    power = complex_product(power, power);
  }
  return sums;
}

}  // namespace pinnerformer
