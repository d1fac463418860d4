// Sums in double, by user, in the order of the users: the same for any number of ranks.
#include "trainer/evaluation/retrieval_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <type_traits>

namespace pinnerformer {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
// Scores are sent as their bytes, so that no double is rounded.
static_assert(std::is_trivially_copyable_v<CaseScore>);
static_assert(sizeof(CaseScore) % sizeof(int64_t) == 0);
constexpr int64_t kScoreWords = sizeof(CaseScore) / sizeof(int64_t);

// int64 [n, kScoreWords]
torch::Tensor to_tensor(const std::vector<CaseScore>& cases) {
  torch::Tensor words = torch::empty({std::ssize(cases), kScoreWords}, torch::kInt64);
  if (!cases.empty())
    std::memcpy(words.mutable_data_ptr(), cases.data(), cases.size() * sizeof(CaseScore));
  return words;
}

std::vector<CaseScore> from_tensor(const torch::Tensor& words) {
  std::vector<CaseScore> cases(static_cast<size_t>(words.size(0)));
  if (!cases.empty())
    std::memcpy(cases.data(), words.const_data_ptr(), cases.size() * sizeof(CaseScore));
  return cases;
}

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
  torch::Tensor counts = torch::zeros({comm.size()}, torch::kInt64);
  counts[comm.rank()] = static_cast<int64_t>(cases_.size());
  comm.all_reduce(counts, "evaluation case counts")->wait();
  const int64_t* count = counts.const_data_ptr<int64_t>();
  const std::vector<int64_t> rows(count, count + comm.size());
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  torch::Tensor all = torch::empty({total, kScoreWords}, torch::kInt64);
  comm.all_gather(all, to_tensor(cases_), rows, "evaluation cases")->wait();
  cases_ = from_tensor(all);
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
