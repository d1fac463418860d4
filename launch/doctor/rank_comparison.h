// Rows of doctor's table that compare the ranks with each other: pure functions of what all ranks
// measured.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "launch/doctor/check.h"

namespace pinnerformer {

// `rates` of all ranks, more is better. A note that names the slowest rank and its host where it
// reaches less than 70 % of the median. NaN counts as no speed at all.
[[nodiscard]] Check rate_check(const std::string& name, const std::string& unit,
                               const std::vector<double>& rates,
                               const std::vector<std::string>& hosts);

// readings[i][r]: clock of rank r in nanoseconds, read by all ranks right after the same barrier. A
// note where hosts differ by more than a second; the median over i hides late wake-ups.
[[nodiscard]] Check clock_check(const std::vector<std::vector<int64_t>>& readings,
                                const std::vector<std::string>& hosts);

// What a rank computes with: the cores that it may use and its threads.
struct RankCores {
  std::vector<int> cores;
  int threads = 0;
};

// A note where the ranks of one host have more threads together than cores.
[[nodiscard]] Check shared_cores_check(const std::vector<RankCores>& ranks,
                                       const std::vector<std::string>& hosts);

}  // namespace pinnerformer
