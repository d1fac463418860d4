// Sums in double, by user, in the order of the users: the same for any number of ranks.
#include "trainer/evaluation/retrieval_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <type_traits>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
// Scores are sent as their bytes, so that no double is rounded.
static_assert(std::is_trivially_copyable_v<CaseScore>);
static_assert(sizeof(CaseScore) % sizeof(int64_t) == 0);
constexpr int64_t kScoreWords = sizeof(CaseScore) / sizeof(int64_t);

// The numerators and denominators of the metrics.
struct Sums {
  double users = 0;
  double positives = 0;
  double hits_at_10 = 0;
  double hits_at_50 = 0;
  double gain_at_10 = 0;
  double recall_at_10 = 0;  // over users, of a user's own recall
  double entropy = 0;       // over cases, of the mean over its lists
  double entropy_cases = 0;

  void add(const Sums& other) {
    users += other.users;
    positives += other.positives;
    hits_at_10 += other.hits_at_10;
    hits_at_50 += other.hits_at_50;
    gain_at_10 += other.gain_at_10;
    recall_at_10 += other.recall_at_10;
    entropy += other.entropy;
    entropy_cases += other.entropy_cases;
  }
};

// One entry per user; the windows of a user stand next to each other.
std::vector<Sums> sums_by_user(const std::vector<CaseScore>& cases) {
  std::vector<Sums> users;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (i == 0 || cases[i].user != cases[i - 1].user) users.emplace_back().users = 1;
    Sums& user = users.back();
    user.positives += static_cast<double>(cases[i].positives);
    user.hits_at_10 += static_cast<double>(cases[i].hits_at_10);
    user.hits_at_50 += static_cast<double>(cases[i].hits_at_50);
    user.gain_at_10 += cases[i].gain_at_10;
    if (cases[i].entropy_lists > 0) {
      user.entropy += cases[i].entropy_sum / static_cast<double>(cases[i].entropy_lists);
      user.entropy_cases += 1;
    }
    user.recall_at_10 = user.hits_at_10 / user.positives;
  }
  return users;
}

double ratio(double numerator, double denominator) {
  return denominator > 0 ? numerator / denominator : kUndefined;
}

RetrievalMetrics metrics_of(const Sums& sums) {
  return {.recall_at_10 = ratio(sums.hits_at_10, sums.positives),
          .recall_at_50 = ratio(sums.hits_at_50, sums.positives),
          .recall_at_10_per_user = ratio(sums.recall_at_10, sums.users),
          .ndcg_at_10 = ratio(sums.gain_at_10, sums.positives),
          .interest_entropy_at_50 = ratio(sums.entropy, sums.entropy_cases),
          .p90_coverage_at_10 = kUndefined};
}

// Standard deviation of one metric over the resamples.
double spread(const std::vector<RetrievalMetrics>& samples, double RetrievalMetrics::*metric) {
  const auto count = static_cast<double>(samples.size());
  if (samples.size() < 2) return kUndefined;
  double mean = 0;
  for (const RetrievalMetrics& sample : samples) mean += sample.*metric / count;
  double squares = 0;
  for (const RetrievalMetrics& sample : samples) {
    squares += (sample.*metric - mean) * (sample.*metric - mean);
  }
  return std::sqrt(squares / (count - 1));
}

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
  Sums total;
  for (const Sums& user : sums_by_user(cases_)) total.add(user);
  RetrievalMetrics metrics = metrics_of(total);
  metrics.p90_coverage_at_10 = p90_coverage(appearances_);
  return metrics;
}

RetrievalMetrics RetrievalScores::standard_errors(int64_t resamples, int64_t seed) const {
  const std::vector<Sums> users = sums_by_user(cases_);
  const auto count = static_cast<int64_t>(users.size());
  std::vector<RetrievalMetrics> samples;
  for (int64_t sample = 0; count > 0 && sample < resamples; ++sample) {
    KeyedRandom random(RandomStream::kEvaluation, {seed, sample});
    Sums total;
    for (int64_t i = 0; i < count; ++i) total.add(users[static_cast<size_t>(random.below(count))]);
    samples.push_back(metrics_of(total));
  }
  return {.recall_at_10 = spread(samples, &RetrievalMetrics::recall_at_10),
          .recall_at_50 = spread(samples, &RetrievalMetrics::recall_at_50),
          .recall_at_10_per_user = spread(samples, &RetrievalMetrics::recall_at_10_per_user),
          .ndcg_at_10 = spread(samples, &RetrievalMetrics::ndcg_at_10),
          .interest_entropy_at_50 = spread(samples, &RetrievalMetrics::interest_entropy_at_50),
          .p90_coverage_at_10 = kUndefined};
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
