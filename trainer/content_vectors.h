// Vectors of norm 1: those of the model, and the dataset's content vectors as baselines use them.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <string>

#include "dataloader/dataset.h"

namespace pinnerformer {

// Vectors along the last dimension with L2 norm 1, float32; zeros (an item without a vector) stay.
[[nodiscard]] torch::Tensor normalised_rows(const torch::Tensor& vectors);

// normalised_rows() of the dataset's vectors. Throws DataError where it has none, naming
// `baseline`.
[[nodiscard]] torch::Tensor content_vectors(const Dataset& dataset, const std::string& baseline);

// False for a row of zeros. vectors [I, C] float32 on the CPU.
[[nodiscard]] bool has_vector(const torch::Tensor& vectors, int64_t item);

}  // namespace pinnerformer
