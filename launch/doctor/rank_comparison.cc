#include "launch/doctor/rank_comparison.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

namespace pinnerformer {
namespace {

constexpr double kSlow = 0.7;  // of the median
constexpr double kClockSeconds = 1;

std::string short_number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g", value);
  return text.data();
}

template <class T>
T middle(std::vector<T> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::string rank_on(size_t rank, const std::vector<std::string>& hosts) {
  return "rank " + std::to_string(rank) + " on " + hosts.at(rank);
}

// Seconds that each rank's clock is ahead of rank 0's.
std::vector<double> clocks_ahead(const std::vector<std::vector<int64_t>>& readings, size_t ranks) {
  std::vector<double> ahead;
  for (size_t rank = 0; rank < ranks; ++rank) {
    std::vector<int64_t> differences;
    for (const auto& reading : readings) differences.push_back(reading.at(rank) - reading.at(0));
    ahead.push_back(static_cast<double>(middle(std::move(differences))) * 1e-9);
  }
  return ahead;
}

}  // namespace

Check rate_check(const std::string& name, const std::string& unit, const std::vector<double>& rates,
                 const std::vector<std::string>& hosts) {
  std::vector<double> known = rates;
  for (double& rate : known)
    if (!std::isfinite(rate)) rate = 0;
  const double median = middle(known);
  const auto slowest = static_cast<size_t>(std::ranges::min_element(known) - known.begin());
  const std::string typical = short_number(median) + " " + unit;
  if (known.size() == 1) return {name, Health::kOk, typical};
  const std::string finding = "the slowest, " + rank_on(slowest, hosts) + ", has " +
                              short_number(known[slowest]) + " " + unit + "; the median is " +
                              typical;
  return {name, known[slowest] < kSlow * median ? Health::kNote : Health::kOk, finding};
}

Check clock_check(const std::vector<std::vector<int64_t>>& readings,
                  const std::vector<std::string>& hosts) {
  if (std::set<std::string>(hosts.begin(), hosts.end()).size() == 1)
    return {"clocks", Health::kOk, "one host"};
  const std::vector<double> ahead = clocks_ahead(readings, hosts.size());
  const auto [first, last] = std::ranges::minmax_element(ahead);
  const auto early = static_cast<size_t>(first - ahead.begin());
  const auto late = static_cast<size_t>(last - ahead.begin());
  const double apart = *last - *first;
  const std::string finding =
      hosts[late] + " is " + short_number(apart) + " s ahead of " + hosts[early];
  if (apart > kClockSeconds)
    return {"clocks", Health::kNote,
            finding + ": logs do not fit together and time limits are missed; run an NTP client"};
  return {"clocks", Health::kOk, finding + ", the largest difference"};
}

Check shared_cores_check(const std::vector<RankCores>& ranks,
                         const std::vector<std::string>& hosts) {
  std::map<std::string, std::set<int>> cores;
  std::map<std::string, int> threads;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    cores[hosts.at(rank)].insert(ranks[rank].cores.begin(), ranks[rank].cores.end());
    threads[hosts[rank]] += ranks[rank].threads;
  }
  std::string crowded;
  for (const auto& [host, count] : threads)
    if (count > std::ssize(cores[host]))
      crowded += (crowded.empty() ? "" : "; ") + host + ": " + std::to_string(count) +
                 " thread(s) of its ranks on " + std::to_string(cores[host].size()) + " core(s)";
  if (crowded.empty()) return {"cores of a host", Health::kOk, "one or more for every thread"};
  return {"cores of a host", Health::kNote,
          crowded +
              ": ranks slow each other down; start fewer, or undo their binding "
              "(mpirun --bind-to none)"};
}

}  // namespace pinnerformer
