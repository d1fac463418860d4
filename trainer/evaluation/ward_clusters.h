// Hierarchical clustering by Ward's criterion, for the PinnerSage baseline.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace pinnerformer {

// The merge of two clusters. Points are clusters 0 .. n - 1; the merged cluster keeps the smaller
// of the two numbers.
struct WardMerge {
  int64_t first = 0;  // the smaller number
  int64_t second = 0;
  // Ward distance sqrt(2 |A| |B| / (|A| + |B|)) * |mean(A) - mean(B)|: for two points, how far
  // apart they are. The same as in SciPy's linkage(..., "ward").
  double distance = 0;
};

// All n - 1 merges, by distance ascending. points [n, D], n >= 1. Time and memory grow with n * n.
[[nodiscard]] std::vector<WardMerge> ward_linkage(const torch::Tensor& points);

// Cluster number of each point, [n], after all merges of at most `max_distance`. Clusters are
// numbered from 0 in the order of their first points.
[[nodiscard]] std::vector<int64_t> ward_clusters(const torch::Tensor& points, double max_distance);

}  // namespace pinnerformer
