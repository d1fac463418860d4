// What chance leaves open: resamples of users, and of training seeds, the same for all methods, so
// that differences of methods have intervals of their own.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace pinnerformer {

struct CaseScore;

// NaN where undefined: entropy without topics, coverage in resamples.
struct RetrievalMetrics {
  double recall_at_10 = 0;  // over positives
  double recall_at_50 = 0;
  double recall_at_10_per_user = 0;   // over users, of the share of a user's positives
  double ndcg_at_10 = 0;              // over positives, each ranked alone
  double interest_entropy_at_50 = 0;  // nats, over users and windows
  double p90_coverage_at_10 = 0;
};
using Metric = double RetrievalMetrics::*;

// The numerators and denominators of the metrics; of one user, or summed over users.
struct MetricSums {
  double users = 0;
  double positives = 0;
  double hits_at_10 = 0;
  double hits_at_50 = 0;
  double gain_at_10 = 0;
  double recall_at_10 = 0;  // over users, of a user's own recall
  double entropy = 0;       // over cases, of the mean over its lists
  double entropy_cases = 0;

  void add(const MetricSums& other);
  [[nodiscard]] RetrievalMetrics metrics() const;  // without coverage
};

// One entry per user, in their order; the cases of a user stand next to each other.
[[nodiscard]] std::vector<MetricSums> sums_by_user(const std::vector<CaseScore>& cases);

// The mean of each metric.
[[nodiscard]] RetrievalMetrics mean_of(const std::vector<RetrievalMetrics>& metrics);

// `runs` holds the same users' sums under each run of one configuration, runs differing in their
// seed alone. A resample draws as many users with replacement, and as many runs with replacement,
// and is the mean over these runs of their metrics over these users. Users are a function of (seed,
// resample) alone, so that resamples of methods with the same users can be subtracted.
[[nodiscard]] std::vector<RetrievalMetrics> resample(
    const std::vector<std::vector<MetricSums>>& runs, int64_t resamples, int64_t seed);

// Standard deviation of each metric over the resamples: its standard error. NaN with fewer than
// two.
[[nodiscard]] RetrievalMetrics spread(const std::vector<RetrievalMetrics>& samples);

// The middle 95 % of the resamples. NaN with fewer than 40, which have no such ends.
struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};
[[nodiscard]] Interval interval_95(const std::vector<RetrievalMetrics>& samples, Metric metric);

// What an interval of a difference to the model says of "the model is better".
enum class Verdict { kHolds, kDoesNot, kCannotBeTold };
[[nodiscard]] const char* verdict_text(Verdict verdict);

// A method minus the model.
struct Difference {
  double value = std::numeric_limits<double>::quiet_NaN();
  Interval interval;
  Verdict model_is_better = Verdict::kCannotBeTold;
};

// Paired: both have the same users and resamples.
[[nodiscard]] Difference difference(const RetrievalMetrics& method,
                                    const std::vector<RetrievalMetrics>& method_samples,
                                    const RetrievalMetrics& model,
                                    const std::vector<RetrievalMetrics>& model_samples,
                                    Metric metric);

}  // namespace pinnerformer
