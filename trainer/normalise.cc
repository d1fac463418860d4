#include "trainer/normalise.h"

namespace pinnerformer {

torch::Tensor normalised_rows(const torch::Tensor& vectors) {
  const torch::Tensor rows = vectors.to(torch::kFloat32);
  return rows / rows.norm(2, -1, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace pinnerformer
