#include "launch/bench/imagined_ranks.h"

#include "comm/row_checks.h"

namespace pinnerformer {
namespace {

struct Ended : Work {
  void wait() override {}
  bool done() override { return true; }
};

// Rows of `input` over and over again; zeros where it has none.
void fill_with(const torch::Tensor& output, const torch::Tensor& input) {
  const int64_t rows = output.size(0), known = input.size(0);
  if (known == 0) {
    output.zero_();
    return;
  }
  output.copy_(input.index_select(0, torch::arange(rows).remainder_(known)));
}

}  // namespace

std::unique_ptr<Work> ImaginedRanks::all_reduce(torch::Tensor tensor, const std::string&) {
  tensor.mul_(size_);
  return std::make_unique<Ended>();
}

std::unique_ptr<Work> ImaginedRanks::all_gather(torch::Tensor output, torch::Tensor input,
                                                const std::vector<int64_t>& counts,
                                                const std::string& name) {
  check_gather_rows(output, input, counts, *this, name);
  fill_with(output, input);
  return std::make_unique<Ended>();
}

std::unique_ptr<Work> ImaginedRanks::reduce_scatter(torch::Tensor output, torch::Tensor input,
                                                    const std::vector<int64_t>& counts,
                                                    const std::string& name) {
  check_gather_rows(input, output, counts, *this, name);
  output.copy_(input.narrow(0, 0, output.size(0))).mul_(size_);
  return std::make_unique<Ended>();
}

std::unique_ptr<Work> ImaginedRanks::all_to_all(torch::Tensor output, torch::Tensor input,
                                                const std::vector<int64_t>& recv_counts,
                                                const std::vector<int64_t>& send_counts,
                                                const std::string& name) {
  check_rows(input, send_counts, *this, name);
  check_rows(output, recv_counts, *this, name);
  fill_with(output, input);
  return std::make_unique<Ended>();
}

std::unique_ptr<Work> ImaginedRanks::broadcast(torch::Tensor, int, const std::string&) {
  return std::make_unique<Ended>();
}

}  // namespace pinnerformer
