#include "comm/gradients/gather_with_grad.h"

#include <torch/csrc/autograd/custom_function.h>

#include <numeric>
#include <utility>

namespace pinnerformer {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// State shared by both ends of a gather. It holds no tensor of the graph: that would be a cycle of
// references, which is never freed.
struct GatherExchange : torch::CustomClassHolder {
  GatherExchange(Communicator& communicator, std::vector<int64_t> rows_of_ranks)
      : comm(communicator), counts(std::move(rows_of_ranks)) {}

  void gather(const torch::Tensor& input) {
    TORCH_CHECK(input.dim() == 2, "rows to gather are [n, D], not ", input.sizes());
    const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    rows = torch::empty({total, input.size(1)}, input.options());
    work = comm.all_gather(rows, input.contiguous(), counts, "negative pool");
  }

  void scatter(const torch::Tensor& sums) {
    grad = torch::empty({counts[static_cast<size_t>(comm.rank())], sums.size(1)}, sums.options());
    work = comm.reduce_scatter(grad, sums.contiguous(), counts, "gradient of the negative pool");
  }

  Communicator& comm;
  std::vector<int64_t> counts;
  std::unique_ptr<Work> work;  // the newest collective
  torch::Tensor rows;          // [sum of counts, D]
  torch::Tensor grad;          // [counts[rank], D]
};

using Shared = PendingGather::Exchange;

GatherExchange& exchange_of(const Shared& shared) { return static_cast<GatherExchange&>(*shared); }

Shared shared_by(AutogradContext* context) { return context->saved_data["exchange"].toCapsule(); }

// Note [Two ends]
// Backward runs in the opposite order of forward. Start is the node where the gather was started,
// Finish the node where its rows were used: in backward, Finish starts the reduce-scatter and Start
// waits for it. The token that connects them in the graph has no meaningful values.
struct Start : torch::autograd::Function<Start> {
  static torch::Tensor forward(AutogradContext* context, torch::Tensor input,
                               const Shared& shared) {
    context->saved_data["exchange"] = torch::IValue::make_capsule(shared);
    exchange_of(shared).gather(input);
    return torch::empty_like(input);
  }
  static variable_list backward(AutogradContext* context, variable_list) {
    const Shared shared = shared_by(context);
    exchange_of(shared).work->wait();
    return {exchange_of(shared).grad, {}};
  }
};

struct Finish : torch::autograd::Function<Finish> {
  static torch::Tensor forward(AutogradContext* context, torch::Tensor, const Shared& shared) {
    context->saved_data["exchange"] = torch::IValue::make_capsule(shared);
    return exchange_of(shared).rows.detach();
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const Shared shared = shared_by(context);
    exchange_of(shared).scatter(grads[0]);
    return {exchange_of(shared).grad, {}};  // not complete yet: Start waits for it
  }
};

}  // namespace

torch::Tensor PendingGather::values() const {
  GatherExchange& exchange = exchange_of(exchange_);
  exchange.work->wait();
  return exchange.rows.detach();
}

torch::Tensor PendingGather::rows() const {
  exchange_of(exchange_).work->wait();
  return Finish::apply(token_, exchange_);
}

PendingGather start_gather_with_grad(const torch::Tensor& input, const std::vector<int64_t>& counts,
                                     Communicator& comm) {
  const Shared shared = c10::make_intrusive<GatherExchange>(comm, counts);
  torch::Tensor token = Start::apply(input, shared);
  return {shared, std::move(token)};
}

torch::Tensor gather_with_grad(const torch::Tensor& input, const std::vector<int64_t>& counts,
                               Communicator& comm) {
  return start_gather_with_grad(input, counts, comm).rows();
}

}  // namespace pinnerformer
