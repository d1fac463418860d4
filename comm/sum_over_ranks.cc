#include "comm/sum_over_ranks.h"

namespace pinnerformer {

int64_t sum_over_ranks(int64_t value, Communicator& comm, const std::string& name) {
  const torch::Tensor sum = torch::tensor({value}, torch::kInt64);
  comm.all_reduce(sum, name)->wait();
  return sum.item<int64_t>();
}

}  // namespace pinnerformer
