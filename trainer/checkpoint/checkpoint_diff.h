// The differences between two checkpoints, bit by bit.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"

namespace pinnerformer {

struct TensorDifference {
  std::string name;
  std::string mismatch;  // "only in the first", "[3, 4] and [3, 5]", ...; "" where values differ
  int64_t elements = 0;  // that differ in at least one bit
  int64_t of = 0;        // elements of the tensor
  double largest_absolute = 0;
  double largest_relative = 0;  // |a - b| / max(|a|, |b|); infinite where one is not finite
};

using NamedTensors = std::map<std::string, torch::Tensor>;

// The tensors that differ, by name; empty where all bits are the same.
[[nodiscard]] std::vector<TensorDifference> tensor_differences(const NamedTensors& first,
                                                               const NamedTensors& second);
// "step: 10 and 20", for every entry of the manifests that is not about files; learned item rows,
// which may be more than memory holds, by the checksums of their files.
[[nodiscard]] std::vector<std::string> info_differences(const CheckpointInfo& first,
                                                        const CheckpointInfo& second);
// One line of text.
[[nodiscard]] std::string describe(const TensorDifference& difference);

}  // namespace pinnerformer
