// The matrix of positive pointwise mutual information between items, never stored: every product
// reads the counts once.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "dataloader/vectors/co_occurrence.h"

namespace pinnerformer {

// M[i, j] = max(0, log(P(i, j) / (P(i) P_s(j)))), P_s(j) in proportion to degree(j)^smoothing: with
// less than 1 rare items look less like a meaningful context than they otherwise would (Levy,
// Goldberg and Dagan 2015). Not symmetric unless smoothing is 1; the diagonal is 0.
class PpmiMatrix {
 public:
  PpmiMatrix(const CoOccurrence& counts, double smoothing);  // `counts` must outlive the matrix

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(log_degree_.size()); }
  // M x, or transposed(M) x: float32 [n, c] -> [n, c]. The same bits on any number of threads.
  [[nodiscard]] torch::Tensor times(const torch::Tensor& x) const { return multiply(x, false); }
  [[nodiscard]] torch::Tensor transposed_times(const torch::Tensor& x) const {
    return multiply(x, true);
  }
  // Euclidean length of each row, float32 [n]; 0 where it has no positive element.
  [[nodiscard]] torch::Tensor row_norms() const;

 private:
  [[nodiscard]] torch::Tensor multiply(const torch::Tensor& x, bool transposed) const;
  [[nodiscard]] double log_of(uint32_t count) const;
  [[nodiscard]] float element(double log_count, uint32_t row, uint32_t column) const;

  const PairFile* pairs_;
  std::vector<double> log_degree_;
  std::vector<double> log_context_;    // of P_s
  std::vector<double> log_of_counts_;  // of small counts, which most are
};

}  // namespace pinnerformer
