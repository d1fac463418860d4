#include "trainer/keyed_dropout.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "dataloader/random.h"
#include "trainer/keyed_dropout_cuda.h"
#include "trainer/keyed_dropout_hash.h"

namespace pinnerformer {
namespace {

template <class Scalar>
void apply_cpu(Scalar* values, const int64_t* keys, int64_t rows, int64_t row_elements,
               const DropoutSite& site) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const uint64_t key = splitmix64(static_cast<uint64_t>(keys[b]) ^ site.salt);
      Scalar* row = values + b * row_elements;
      for (int64_t i = 0; i < row_elements; ++i) {
        const bool kept = keyed_bits(key, static_cast<uint32_t>(i)) >= site.drop_below;
        row[i] = static_cast<Scalar>(static_cast<float>(row[i]) * (kept ? site.scale : 0.0F));
      }
    }
  });
}

// A masked and scaled copy of `input`.
torch::Tensor masked(const torch::Tensor& input, const torch::Tensor& keys, const DropoutSite& site) {
  torch::Tensor output = input.contiguous().clone();
  const int64_t rows = output.size(0);
  const int64_t row_elements = rows == 0 ? 0 : output.numel() / rows;
  if (output.is_cuda()) {
    keyed_dropout_cuda(output, keys, row_elements, site);
  } else if (output.scalar_type() == torch::kFloat32) {
    apply_cpu(output.data_ptr<float>(), keys.data_ptr<int64_t>(), rows, row_elements, site);
  } else {
    apply_cpu(output.data_ptr<c10::BFloat16>(), keys.data_ptr<int64_t>(), rows, row_elements, site);
  }
  return output;
}

DropoutSite make_site(int64_t site, double p) {
  return {splitmix64(static_cast<uint64_t>(Draw::kDropout) * 1024 + static_cast<uint64_t>(site)),
          static_cast<uint32_t>(p * 4294967296.0), static_cast<float>(1.0 / (1.0 - p))};
}

struct KeyedDropout : torch::autograd::Function<KeyedDropout> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor input,
                               torch::Tensor keys, int64_t site, double p) {
    context->save_for_backward({keys});
    context->saved_data["site"] = site;
    context->saved_data["p"] = p;
    return masked(input, keys, make_site(site, p));
  }
  // The mask is computed again: cheaper than keeping it.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto site = make_site(context->saved_data["site"].toInt(),
                                context->saved_data["p"].toDouble());
    return {masked(grads[0], context->get_saved_variables()[0], site), {}, {}, {}};
  }
};

}  // namespace

torch::Tensor keyed_dropout(const torch::Tensor& input, const torch::Tensor& draw_key, int64_t site,
                            double p) {
  TORCH_CHECK(p >= 0 && p < 1, "dropout is in [0, 1), not ", p);
  if (p == 0) return input;
  return KeyedDropout::apply(input, draw_key, site, p);
}

}  // namespace pinnerformer
