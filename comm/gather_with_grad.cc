#include "comm/gather_with_grad.h"

#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

namespace pinnerformer {
namespace {

struct GatherWithGrad : torch::autograd::Function<GatherWithGrad> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor input,
                               std::vector<int64_t> counts, int64_t comm) {
    context->saved_data["counts"] = counts;
    context->saved_data["comm"] = comm;
    const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    torch::Tensor output = torch::empty({rows, input.size(1)}, input.options());
    pointer(comm)->all_gather(output, input.contiguous(), counts, "negative pool")->wait();
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto counts = context->saved_data["counts"].toIntVector();
    Communicator* comm = pointer(context->saved_data["comm"].toInt());
    const torch::Tensor sum = grads[0].contiguous();
    torch::Tensor grad = torch::empty(
        {counts[static_cast<size_t>(comm->rank())], sum.size(1)}, sum.options());
    comm->reduce_scatter(grad, sum, counts, "gradient of the negative pool")->wait();
    return {grad, torch::Tensor(), torch::Tensor()};
  }

  // Autograd contexts carry no raw pointers.
  static Communicator* pointer(int64_t address) {
    return reinterpret_cast<Communicator*>(static_cast<intptr_t>(address));
  }
};

}  // namespace

torch::Tensor gather_with_grad(const torch::Tensor& input, const std::vector<int64_t>& counts,
                               Communicator& comm) {
  return GatherWithGrad::apply(input, counts,
                               static_cast<int64_t>(reinterpret_cast<intptr_t>(&comm)));
}

}  // namespace pinnerformer
