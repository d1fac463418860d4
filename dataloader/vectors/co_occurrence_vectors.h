// Frozen item vectors from co-occurrence, for datasets without a content encoder: items that the
// same users engaged with lie close together. A stand-in for what PinSage gives PinnerFormer.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/base/id_column.h"
#include "dataloader/vectors/co_occurrence.h"

namespace pinnerformer {

struct CoOccurrenceVectorsOptions {
  CoOccurrenceOptions counting;
  int64_t dimension = 64;
  double smoothing = 0.75;  // power of the context distribution
  int64_t seed = 1;         // of the random directions that the decomposition starts from
};

// Vectors of some items of a dataset with their ids.
struct ItemVectors {
  IdColumn ids;                   // ascending as in the dataset
  torch::Tensor vectors;          // float16 [n, dimension], of length 1
  torch::Tensor singular_values;  // float32 [dimension], descending
  CoOccurrenceStatistics statistics;
  int64_t pairs = 0;   // different ones
  int64_t before = 0;  // no event at or after this second was seen
  std::string recipe;  // for people: everything the vectors depend on
};

// Positive PMI of co-occurrence (see PpmiMatrix), its truncated singular value decomposition U S V'
// by random projection with power iterations (Halko, Martinsson and Tropp 2011), and the rows of
// U sqrt(S) at unit length. Items whose row of the matrix is empty, or lies outside of the
// truncated space, have no vector. Throws DataError as count_co_occurrence() does and where fewer
// items than dimensions take part.
[[nodiscard]] ItemVectors make_co_occurrence_vectors(const Dataset& dataset,
                                                     const CoOccurrenceVectorsOptions& options,
                                                     const StageCallback& progress);

}  // namespace pinnerformer
