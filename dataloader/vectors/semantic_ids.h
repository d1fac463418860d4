// Semantic ids of items: codes of their content vectors by residual quantisation (Singh et al.,
// "Better Generalization with Semantic IDs", RecSys 2024). Items with similar vectors share codes,
// so that what is learned of a code holds for an item without any event.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dataloader/dataset/semantic_ids.h"

namespace pinnerformer {

struct CodebookOptions {
  int64_t levels = 3;   // L, codes of an item
  int64_t codes = 256;  // V, of each level
  int64_t iterations = 25;
  int64_t seed = 1;
  int64_t most_vectors = 262144;  // that the codebooks are learned from, drawn at random

  bool operator==(const CodebookOptions&) const = default;
};

// Called after each iteration of the clustering of a level.
using CodebookProgress = std::function<void(int64_t done, int64_t total)>;

// The centres of all levels, float32 [L * V, C]. Level l is a k-means clustering of what the levels
// before it leave of the vectors at norm 1. `vectors`: [I, C] of any float type; a row of zeros is
// an item without a vector. Throws DataError where fewer than V items have a vector, or where one
// holds NaN or infinity.
[[nodiscard]] torch::Tensor learn_codebooks(const torch::Tensor& vectors,
                                            const CodebookOptions& options,
                                            const CodebookProgress& progress = {});

struct AssignedCodes {
  SemanticIds ids;
  int64_t coded = 0;         // items that have codes
  int64_t distinct = 0;      // different semantic ids among them
  std::vector<double> left;  // by level: the mean squared norm of what is left of vectors of norm 1
};

// At each level the nearest centre to what the levels before it leave. `codebooks`: [levels * V,
// C]. Throws DataError where a vector holds NaN or infinity.
[[nodiscard]] AssignedCodes assign_codes(const torch::Tensor& vectors,
                                         const torch::Tensor& codebooks, int64_t levels);

// Puts the ids into the dataset in `directory`, in place of those it has. items.h5 is written
// beside the dataset and renamed, users files stay as they are: a reader sees the old or the new
// dataset, and the fingerprint changes. Throws DataError, MissingInputError or IoError.
void attach_semantic_ids(const std::string& directory, const SemanticIds& ids);

}  // namespace pinnerformer
