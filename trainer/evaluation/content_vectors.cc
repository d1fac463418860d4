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

torch::Tensor mean_of_last(const torch::Tensor& vectors, const std::vector<HistoryPrefix>& prefixes,
                           int64_t last) {
  const int64_t width = vectors.size(1);
  const float* values = vectors.const_data_ptr<float>();
  torch::Tensor sums =
      torch::zeros({static_cast<int64_t>(prefixes.size()), width}, torch::kFloat32);
  float* sum = sums.mutable_data_ptr<float>();
  for (const HistoryPrefix& prefix : prefixes) {
    int64_t taken = 0;
    for (int64_t event = prefix.length - 1; event >= 0 && taken < last; --event) {
      const int64_t item = prefix.timeline->item[static_cast<size_t>(event)];
      if (!has_vector(vectors, item)) continue;
      for (int64_t i = 0; i < width; ++i) sum[i] += values[item * width + i];
      ++taken;
    }
    sum += width;
  }
  return normalised_rows(sums);
}

}  // namespace pinnerformer
