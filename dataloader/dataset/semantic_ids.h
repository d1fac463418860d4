// Semantic ids of a dataset's items, as items.h5 holds them (docs/data_format.md).
#pragma once
#include <torch/types.h>

#include <cstdint>

namespace pinnerformer {

// L levels of V codes each, of content vectors of width C.
struct SemanticIds {
  torch::Tensor codes;      // int32 [I, L], below V; -1 in all levels: an item without a vector
  torch::Tensor codebooks;  // float32 [L * V, C], the centres of the codes, level after level

  // Both tensors are undefined where the dataset has no semantic ids.
  [[nodiscard]] bool defined() const { return codes.defined(); }
  [[nodiscard]] int64_t levels() const { return defined() ? codes.size(1) : 0; }    // L
  [[nodiscard]] int64_t rows() const { return defined() ? codebooks.size(0) : 0; }  // L * V
  [[nodiscard]] int64_t codes_of_level() const {                                    // V
    return defined() ? rows() / levels() : 0;
  }
};

}  // namespace pinnerformer
