// A group of columns of the product at a time, so that threads share nothing but the file.
#include "dataloader/vectors/ppmi.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <cmath>

namespace pinnerformer {
namespace {

constexpr int64_t kLanes = 32;  // columns of a group: two cache lines of each row
constexpr uint32_t kSmallCounts = 1 << 14;

void add_scaled(float factor, const float* from, float* to) {
  for (int64_t lane = 0; lane < kLanes; ++lane) to[lane] += factor * from[lane];
}

}  // namespace

PpmiMatrix::PpmiMatrix(const CoOccurrence& counts, double smoothing) : pairs_(&counts.pairs) {
  double total = 0;
  for (const int64_t degree : counts.degree) {
    if (degree > 0) total += std::pow(static_cast<double>(degree), smoothing);
  }
  // An item without a pair is never looked up: its logarithm of zero does no harm.
  for (const int64_t degree : counts.degree) {
    log_degree_.push_back(std::log(static_cast<double>(degree)));
    log_context_.push_back(smoothing * log_degree_.back() - std::log(total));
  }
  for (uint32_t count = 0; count < kSmallCounts; ++count) log_of_counts_.push_back(std::log(count));
}

double PpmiMatrix::log_of(uint32_t count) const {
  return count < kSmallCounts ? log_of_counts_[count] : std::log(static_cast<double>(count));
}

// P(i, j) / P(i) is count / degree(i): the total cancels.
float PpmiMatrix::element(double log_count, uint32_t row, uint32_t column) const {
  return static_cast<float>(std::max(0.0, log_count - log_degree_[row] - log_context_[column]));
}

torch::Tensor PpmiMatrix::row_norms() const {
  std::vector<double> squares(log_degree_.size(), 0.0);
  pairs_->visit([&](const PairCount& pair) {
    const double log_count = log_of(pair.count);
    const double here = element(log_count, pair.row, pair.column);
    const double there = element(log_count, pair.column, pair.row);
    squares[pair.row] += here * here;
    squares[pair.column] += there * there;
  });
  return torch::tensor(squares).sqrt().to(torch::kFloat32);
}

torch::Tensor PpmiMatrix::multiply(const torch::Tensor& x, bool transposed) const {
  const int64_t columns = x.size(1);
  const int64_t groups = (columns + kLanes - 1) / kLanes;
  const int64_t width = groups * kLanes;
  const torch::Tensor in = torch::constant_pad_nd(x, {0, width - columns}).contiguous();
  torch::Tensor out = torch::zeros({size(), width});
  const float* from = in.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t lane = begin * kLanes; lane < end * kLanes; lane += kLanes) {
      pairs_->visit([&](const PairCount& pair) {
        const double log_count = log_of(pair.count);
        const float here = element(log_count, pair.row, pair.column);
        const float there = element(log_count, pair.column, pair.row);
        const int64_t row = pair.row * width + lane;
        const int64_t column = pair.column * width + lane;
        add_scaled(transposed ? there : here, from + column, to + row);
        add_scaled(transposed ? here : there, from + row, to + column);
      });
    }
  });
  return out.narrow(1, 0, columns);
}

}  // namespace pinnerformer
