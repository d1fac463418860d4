#include "trainer/content_vectors.h"

#include <algorithm>

#include "dataloader/errors.h"

namespace pinnerformer {

torch::Tensor normalised_rows(const torch::Tensor& vectors) {
  const torch::Tensor rows = vectors.to(torch::kFloat32);
  return rows / rows.norm(2, -1, /*keepdim=*/true).clamp_min(1e-12);
}

torch::Tensor content_vectors(const Dataset& dataset, const std::string& baseline) {
  if (!dataset.item_vectors().defined()) {
    throw DataError("baseline " + baseline + " needs content vectors, and " + dataset.directory() +
                    "/items.h5 has none: import them, or make them with `pinnerformer vectors`");
  }
  return normalised_rows(dataset.item_vectors());
}

bool has_vector(const torch::Tensor& vectors, int64_t item) {
  const float* row = vectors.const_data_ptr<float>() + item * vectors.size(1);
  return std::any_of(row, row + vectors.size(1), [](float x) { return x != 0; });
}

}  // namespace pinnerformer
