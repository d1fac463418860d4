// Measures speed and correctness of the communication between ranks, for `doctor` and `bench
// allreduce`.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/ranks.h"

namespace pinnerformer {

struct AllReduceTiming {
  int64_t bytes = 0;
  bool correct = false;  // every rank has the right sum
  double median_us = 0;  // on rank 0; ranks start together
  double p95_us = 0;
  double bus_gb_per_second = 0;           // 2 (n-1)/n bytes / median
  std::optional<double> plain_median_us;  // MPI_Allreduce of the same buffer, measured alternately
};

// float32 on the ranks' device. With `plain`, MPI_Allreduce is measured alternately with ours; that
// needs CPU tensors and more than one rank. Every rank must call it.
[[nodiscard]] AllReduceTiming time_all_reduce(const Ranks& ranks, int64_t bytes, int repetitions,
                                              bool plain);

// Every rank sends `bytes` to rank (own + shift) mod W, for up to 16 shifts; returns the pair of
// ranks that took longest. Nothing with one rank. Every rank must call it.
struct SlowestLink {
  int from = 0, to = 0;
  double gb_per_second = 0, median_gb_per_second = 0;
};
[[nodiscard]] std::optional<SlowestLink> find_slowest_link(const Ranks& ranks, int64_t bytes);

// The q-quantile of values, nearest rank; 0 without values.
[[nodiscard]] double quantile(std::vector<double> values, double q);

[[nodiscard]] double seconds_since(std::chrono::steady_clock::time_point begin);

}  // namespace pinnerformer
