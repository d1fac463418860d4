#include "comm/gather_with_grad.h"

#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

namespace pinnerformer {
namespace {

struct GatherWithGrad : torch::autograd::Function<GatherWithGrad> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor input,
                               std::vector<int64_t> counts, int64_t comm, int64_t work) {
    context->saved_data["counts"] = counts;
    context->saved_data["comm"] = comm;
    TORCH_CHECK(input.dim() == 2, "rows to gather are [n, D], not ", input.sizes());
    const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    torch::Tensor output = torch::empty({rows, input.size(1)}, input.options());
    *reinterpret_cast<std::unique_ptr<Work>*>(static_cast<intptr_t>(work)) =
        pointer(comm)->all_gather(output, input.contiguous(), counts, "negative pool");
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
    return {grad, torch::Tensor(), torch::Tensor(), torch::Tensor()};
  }

  // Autograd contexts carry no raw pointers.
  static Communicator* pointer(int64_t address) {
    return reinterpret_cast<Communicator*>(static_cast<intptr_t>(address));
  }
};

}  // namespace

PendingGather start_gather_with_grad(const torch::Tensor& input,
                                     const std::vector<int64_t>& counts, Communicator& comm) {
  const auto address = [](auto* object) {
    return static_cast<int64_t>(reinterpret_cast<intptr_t>(object));
  };
  std::unique_ptr<Work> work;
  torch::Tensor rows = GatherWithGrad::apply(input, counts, address(&comm), address(&work));
  return {std::move(rows), std::move(work)};
}

torch::Tensor gather_with_grad(const torch::Tensor& input, const std::vector<int64_t>& counts,
                               Communicator& comm) {
  return start_gather_with_grad(input, counts, comm).wait();
}

}  // namespace pinnerformer
