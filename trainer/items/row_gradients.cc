#include "trainer/items/row_gradients.h"

#include <cmath>
#include <limits>

#include "comm/rows/row_transport.h"

namespace pinnerformer {

// What the ranks add up for one row is at most the sum of their norms.
torch::Tensor nan_unless_finite(const torch::Tensor& gradients, Communicator& comm) {
  static const double kLargest = std::sqrt(std::numeric_limits<float>::max());
  torch::Tensor sum = gradients.norm();
  comm.all_reduce(sum, "norms of the row gradients")->wait();
  return torch::where(sum <= kLargest, 0.0, std::numeric_limits<double>::quiet_NaN())
      .to(torch::kFloat32);
}

std::vector<int64_t> rows_not_finite(const torch::Tensor& rows, const torch::Tensor& gradients) {
  const torch::Tensor fine = gradients.square().sum(/*dim=*/1).isfinite().cpu();
  return to_vector(rows.masked_select(fine.logical_not()));
}

}  // namespace pinnerformer
