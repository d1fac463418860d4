// The dataset's content vectors for baselines, with norm 1.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "trainer/evaluation/retrieval_method.h"

namespace pinnerformer {

// normalised_rows() of the dataset's vectors. Throws DataError where it has none, naming
// `baseline`.
[[nodiscard]] torch::Tensor content_vectors(const Dataset& dataset, const std::string& baseline);

// False for a row of zeros. vectors [I, C] float32 on the CPU.
[[nodiscard]] bool has_vector(const torch::Tensor& vectors, int64_t item);

// The normalised mean of the vectors of the last `last` items of each prefix that have one, [n, C];
// zeros where none has: all items then have the same score.
[[nodiscard]] torch::Tensor mean_of_last(const torch::Tensor& vectors,
                                         const std::vector<HistoryPrefix>& prefixes, int64_t last);

}  // namespace pinnerformer
