#include "trainer/evaluation/content_vectors.h"

#include <algorithm>

#include "dataloader/base/errors.h"
#include "trainer/normalise.h"

namespace pinnerformer {

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
