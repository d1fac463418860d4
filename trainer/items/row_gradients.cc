#include "trainer/items/row_gradients.h"

#include <limits>

#include "comm/rows/row_transport.h"

namespace pinnerformer {

// What the ranks add up for one row is at most the sum of their norms.
bool rows_are_finite(const torch::Tensor& gradients, Communicator& control) {
  torch::Tensor norms = gradients.norm().cpu();
  control.all_reduce(norms, "norms of the row gradients")->wait();
  const auto sum = norms.item<double>();
  return sum * sum <= std::numeric_limits<float>::max();
}

std::vector<int64_t> rows_not_finite(const torch::Tensor& rows, const torch::Tensor& gradients) {
  const torch::Tensor fine = gradients.square().sum(/*dim=*/1).isfinite().cpu();
  return to_vector(rows.masked_select(fine.logical_not()));
}

}  // namespace pinnerformer
