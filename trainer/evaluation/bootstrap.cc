// Sums in double in the order of the draws: the same bits on every rank.
#include "trainer/evaluation/bootstrap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

#include "dataloader/base/random.h"
#include "trainer/evaluation/retrieval_metrics.h"

namespace pinnerformer {
namespace {

constexpr double kNotDefined = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kRunKey = -2;  // distinguishes draws of runs from those of users
constexpr std::array<Metric, 6> kMetrics = {
    &RetrievalMetrics::recall_at_10,           &RetrievalMetrics::recall_at_50,
    &RetrievalMetrics::recall_at_10_per_user,  &RetrievalMetrics::ndcg_at_10,
    &RetrievalMetrics::interest_entropy_at_50, &RetrievalMetrics::p90_coverage_at_10};

double ratio(double numerator, double denominator) {
  return denominator > 0 ? numerator / denominator : kNotDefined;
}

std::vector<size_t> drawn_users(int64_t count, int64_t seed, int64_t sample) {
  KeyedRandom random(RandomStream::kEvaluation, {seed, sample});
  std::vector<size_t> users(static_cast<size_t>(count));
  for (size_t& user : users) user = static_cast<size_t>(random.below(count));
  return users;
}

// All of one run; no draw.
std::vector<size_t> drawn_runs(int64_t count, int64_t seed, int64_t sample) {
  KeyedRandom random(RandomStream::kEvaluation, {seed, kRunKey, sample});
  std::vector<size_t> runs(static_cast<size_t>(count), 0);
  for (size_t& run : runs) run = count == 1 ? 0 : static_cast<size_t>(random.below(count));
  return runs;
}

double spread_of(const std::vector<RetrievalMetrics>& samples, Metric metric) {
  if (samples.size() < 2) return kNotDefined;
  const auto count = static_cast<double>(samples.size());
  double mean = 0;
  for (const RetrievalMetrics& sample : samples) mean += sample.*metric / count;
  double squares = 0;
  for (const RetrievalMetrics& sample : samples)
    squares += (sample.*metric - mean) * (sample.*metric - mean);
  return std::sqrt(squares / (count - 1));
}

Interval middle_95(std::vector<double> values) {
  constexpr size_t kLeast = 40;
  const bool undefined =
      std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); });
  if (values.size() < kLeast || undefined) return {};
  std::sort(values.begin(), values.end());
  const size_t outside = values.size() / kLeast;  // on each side: 2.5 %
  return {.low = values[outside], .high = values[values.size() - 1 - outside]};
}

}  // namespace

void MetricSums::add(const MetricSums& other) {
  users += other.users;
  positives += other.positives;
  hits_at_10 += other.hits_at_10;
  hits_at_50 += other.hits_at_50;
  gain_at_10 += other.gain_at_10;
  recall_at_10 += other.recall_at_10;
  entropy += other.entropy;
  entropy_cases += other.entropy_cases;
}

RetrievalMetrics MetricSums::metrics() const {
  return {.recall_at_10 = ratio(hits_at_10, positives),
          .recall_at_50 = ratio(hits_at_50, positives),
          .recall_at_10_per_user = ratio(recall_at_10, users),
          .ndcg_at_10 = ratio(gain_at_10, positives),
          .interest_entropy_at_50 = ratio(entropy, entropy_cases),
          .p90_coverage_at_10 = kNotDefined};
}

std::vector<MetricSums> sums_by_user(const std::vector<CaseScore>& cases) {
  std::vector<MetricSums> users;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (i == 0 || cases[i].user != cases[i - 1].user) users.emplace_back().users = 1;
    MetricSums& user = users.back();
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

RetrievalMetrics mean_of(const std::vector<RetrievalMetrics>& metrics) {
  if (metrics.size() == 1) return metrics.front();
  RetrievalMetrics mean;
  for (const Metric metric : kMetrics) {
    for (const RetrievalMetrics& one : metrics) mean.*metric += one.*metric;
    mean.*metric /= static_cast<double>(metrics.size());
  }
  return mean;
}

std::vector<RetrievalMetrics> resample(const std::vector<std::vector<MetricSums>>& runs,
                                       int64_t resamples, int64_t seed) {
  const auto users = std::ssize(runs.front());
  std::vector<RetrievalMetrics> samples;
  for (int64_t sample = 0; users > 0 && sample < resamples; ++sample) {
    const std::vector<size_t> drawn = drawn_users(users, seed, sample);
    std::vector<RetrievalMetrics> metrics;
    for (const size_t run : drawn_runs(std::ssize(runs), seed, sample)) {
      MetricSums total;
      for (const size_t user : drawn) total.add(runs[run][user]);
      metrics.push_back(total.metrics());
    }
    samples.push_back(mean_of(metrics));
  }
  return samples;
}

RetrievalMetrics spread(const std::vector<RetrievalMetrics>& samples) {
  RetrievalMetrics errors;
  for (const Metric metric : kMetrics) errors.*metric = spread_of(samples, metric);
  return errors;
}

Interval interval_95(const std::vector<RetrievalMetrics>& samples, Metric metric) {
  std::vector<double> values;
  for (const RetrievalMetrics& sample : samples) values.push_back(sample.*metric);
  return middle_95(std::move(values));
}

const char* verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHolds:
      return "holds";
    case Verdict::kDoesNot:
      return "does not hold";
    case Verdict::kCannotBeTold:
      return "cannot be told";
  }
  throw std::logic_error("verdict_text: a verdict is not handled");
}

Difference difference(const RetrievalMetrics& method,
                      const std::vector<RetrievalMetrics>& method_samples,
                      const RetrievalMetrics& model,
                      const std::vector<RetrievalMetrics>& model_samples, Metric metric) {
  if (method_samples.size() != model_samples.size())
    throw std::logic_error("difference: resamples of both methods must be the same");
  std::vector<double> values;
  for (size_t i = 0; i < method_samples.size(); ++i)
    values.push_back(method_samples[i].*metric - model_samples[i].*metric);
  Difference result{.value = method.*metric - model.*metric, .interval = middle_95(values)};
  if (result.interval.high < 0) result.model_is_better = Verdict::kHolds;
  if (result.interval.low > 0) result.model_is_better = Verdict::kDoesNot;
  return result;
}

}  // namespace pinnerformer
