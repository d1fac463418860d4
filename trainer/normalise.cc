#include "trainer/normalise.h"

namespace pinnerformer {
namespace {

// The gradient is divided by the norm: below this one, a step would leave the row far away.
constexpr double kLeastNorm = 1e-6;

}  // namespace

torch::Tensor normalised_rows(const torch::Tensor& vectors) {
  const torch::Tensor rows = vectors.to(torch::kFloat32);
  return rows / rows.norm(2, -1, /*keepdim=*/true).clamp_min(kLeastNorm);
}

}  // namespace pinnerformer
