#include "dataloader/vectors/k_means.h"

#include <torch/torch.h>

#include <algorithm>
#include <vector>

namespace pinnerformer {
namespace {

constexpr int64_t kRowsOfProduct = 8192;  // so that the distances of one product stay small

// A further centre is a row drawn in proportion to its squared distance from the nearest centre so
// far.
torch::Tensor first_centres(const torch::Tensor& rows, int64_t k, KeyedRandom& random) {
  const torch::Tensor norms = rows.square().sum(1);
  const auto squared_to = [&](int64_t row) {
    return (norms + norms[row] - 2 * torch::mv(rows, rows[row])).clamp_min(0);
  };
  std::vector<int64_t> chosen = {random.below(rows.size(0))};
  torch::Tensor squared = squared_to(chosen.front());
  while (std::ssize(chosen) < k) {
    const torch::Tensor sums = squared.cumsum(0, torch::kFloat64);
    const torch::Tensor target = sums[-1] * random.uniform();
    const auto row = torch::searchsorted(sums, target, /*out_int32=*/false, /*right=*/true);
    chosen.push_back(std::min(row.item<int64_t>(), rows.size(0) - 1));
    squared = torch::minimum(squared, squared_to(chosen.back()));
  }
  return rows.index_select(0, torch::tensor(chosen, torch::kInt64));
}

// A centre without rows moves to the row that is farthest from its own.
void move_unused(torch::Tensor& centres, const torch::Tensor& counts, const torch::Tensor& rows,
                 const torch::Tensor& squared) {
  const torch::Tensor unused = counts.eq(0).nonzero().squeeze(1);
  if (unused.numel() == 0) return;
  const torch::Tensor farthest = std::get<1>(squared.topk(unused.numel()));
  centres.index_copy_(0, unused, rows.index_select(0, farthest));
}

}  // namespace

NearestCentres nearest_centres(const torch::Tensor& rows, const torch::Tensor& centres) {
  std::vector<torch::Tensor> index, squared;
  const torch::Tensor norms = centres.square().sum(1);
  for (const torch::Tensor& part : rows.split(kRowsOfProduct)) {
    const auto [least, which] = (norms - 2 * torch::mm(part, centres.t())).min(1);
    index.push_back(which);
    squared.push_back((least + part.square().sum(1)).clamp_min(0));
  }
  return {torch::cat(index), torch::cat(squared)};
}

torch::Tensor k_means(const torch::Tensor& rows, int64_t k, int64_t iterations, KeyedRandom& random,
                      const std::function<void()>& iterated) {
  torch::Tensor centres = first_centres(rows, k, random);
  for (int64_t i = 0; i < iterations; ++i) {
    const NearestCentres found = nearest_centres(rows, centres);
    const torch::Tensor sums = torch::zeros_like(centres).index_add_(0, found.index, rows);
    const torch::Tensor counts = torch::bincount(found.index, {}, k);
    centres =
        torch::where(counts.gt(0).unsqueeze(1), sums / counts.clamp_min(1).unsqueeze(1), centres);
    move_unused(centres, counts, rows, found.squared);
    iterated();
  }
  return centres;
}

}  // namespace pinnerformer
