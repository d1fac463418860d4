// Sums in double, by user, in the order of the users: the same for any number of ranks.
#include "trainer/evaluation/retrieval_metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "comm/gather_records.h"

namespace pinnerformer {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void CaseScore::add_rank(double rank) {
  positives += 1;
  if (rank < 10) {
    hits_at_10 += 1;
    gain_at_10 += 1 / std::log2(rank + 2);
  }
  if (rank < 50) hits_at_50 += 1;
}

RetrievalScores::RetrievalScores(const CandidateIndex& index, const std::vector<int32_t>& topics)
    : index_(index), topics_(topics), appearances_(static_cast<size_t>(index.size()), 0) {}

void RetrievalScores::add_list(std::span<const int32_t> top, CaseScore& score) {
  for (const int32_t item : top.first(std::min<size_t>(top.size(), kCoverageTop))) {
    appearances_[static_cast<size_t>(index_.column(item))] += 1;
  }
  const double entropy =
      interest_entropy(top.first(std::min<size_t>(top.size(), kEntropyTop)), topics_);
  if (std::isnan(entropy)) return;
  score.entropy_sum += entropy;
  score.entropy_lists += 1;
}

void RetrievalScores::gather(Communicator& comm) {
  cases_ = gather_records(cases_, comm, "evaluation cases");
  torch::Tensor appearances = torch::tensor(appearances_, torch::kInt64);
  comm.all_reduce(appearances, "evaluation appearances")->wait();
  const int64_t* appearance = appearances.const_data_ptr<int64_t>();
  appearances_.assign(appearance, appearance + appearances.numel());
}

RetrievalMetrics RetrievalScores::metrics() const {
  MetricSums total;
  for (const MetricSums& user : sums_by_user(cases_)) total.add(user);
  RetrievalMetrics metrics = total.metrics();
  metrics.p90_coverage_at_10 = p90_coverage(appearances_);
  return metrics;
}

RetrievalMetrics RetrievalScores::standard_errors(int64_t resamples, int64_t seed) const {
  return spread(resample({sums_by_user(cases_)}, resamples, seed));
}

double interest_entropy(std::span<const int32_t> items, const std::vector<int32_t>& topics) {
  std::vector<int32_t> known;
  for (const int32_t item : items) {
    const int32_t topic = topics.empty() ? -1 : topics[static_cast<size_t>(item)];
    if (topic >= 0) known.push_back(topic);
  }
  if (known.empty()) return kUndefined;
  std::sort(known.begin(), known.end());
  double entropy = 0;
  for (size_t first = 0; first < known.size();) {
    size_t last = first;
    while (last < known.size() && known[last] == known[first]) ++last;
    const double share = static_cast<double>(last - first) / static_cast<double>(known.size());
    entropy -= share * std::log(share);
    first = last;
  }
  return entropy;
}

double p90_coverage(std::vector<int64_t> appearances) {
  const int64_t total = std::accumulate(appearances.begin(), appearances.end(), int64_t{0});
  if (total == 0) return kUndefined;
  std::sort(appearances.begin(), appearances.end(), std::greater<>());
  int64_t covered = 0;
  size_t items = 0;
  while (covered * 10 < total * 9) covered += appearances[items++];
  return static_cast<double>(items) / static_cast<double>(appearances.size());
}

}  // namespace pinnerformer
