// The dataset's content vectors for baselines, with norm 1.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <string>

#include "dataloader/dataset/dataset.h"

namespace pinnerformer {

// normalised_rows() of the dataset's vectors. Throws DataError where it has none, naming
// `baseline`.
[[nodiscard]] torch::Tensor content_vectors(const Dataset& dataset, const std::string& baseline);

// False for a row of zeros. vectors [I, C] float32 on the CPU.
[[nodiscard]] bool has_vector(const torch::Tensor& vectors, int64_t item);

}  // namespace pinnerformer
