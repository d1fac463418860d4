// Clusters the recent items of a user by Ward's criterion and takes the medoids of the most
// important clusters.
#include "trainer/evaluation/pinnersage.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "trainer/evaluation/content_vectors.h"
#include "trainer/evaluation/ward_clusters.h"

namespace pinnerformer {
namespace {

constexpr double kSecondsPerDay = 86400;

struct RecentItems {
  std::vector<int64_t> items;   // rows, latest first
  std::vector<double> weights;  // share in the importance of their cluster
};

struct Cluster {
  std::vector<int64_t> members;  // rows of the recent items
  double importance = 0;
};

RecentItems recent_items(const HistoryPrefix& prefix, const torch::Tensor& vectors,
                         const PinnerSageOptions& options) {
  RecentItems recent;
  for (int64_t event = prefix.length - 1; event >= 0; --event) {
    const auto i = static_cast<size_t>(event);
    const double days =
        static_cast<double>(prefix.time - prefix.timeline->time[i]) / kSecondsPerDay;
    if (days > options.history_days) break;
    if (static_cast<int64_t>(recent.items.size()) == options.max_items) break;
    const int64_t item = prefix.timeline->item[i];
    if (!has_vector(vectors, item)) continue;
    recent.items.push_back(item);
    recent.weights.push_back(std::exp(-options.decay_per_day * days));
  }
  return recent;
}

// By importance; among equally important clusters, the one with the latest item is first.
std::vector<Cluster> rank_clusters(const std::vector<int64_t>& labels,
                                   const std::vector<double>& weights) {
  std::vector<Cluster> clusters;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto label = static_cast<size_t>(labels[i]);
    if (label == clusters.size()) clusters.emplace_back();
    clusters[label].members.push_back(static_cast<int64_t>(i));
    clusters[label].importance += weights[i];
  }
  std::stable_sort(clusters.begin(), clusters.end(),
                   [](const Cluster& a, const Cluster& b) { return a.importance > b.importance; });
  return clusters;
}

// The member with the smallest sum of squared distances to the others, [C].
torch::Tensor medoid_of(const torch::Tensor& points, const std::vector<int64_t>& members) {
  const torch::Tensor own = points.index_select(0, torch::tensor(members, torch::kInt64));
  const torch::Tensor exact = own.to(torch::kFloat64);
  // sum_k |x_k - x_j|^2 = constant + n (|x_j|^2 - 2 <mean, x_j>)
  const torch::Tensor cost = exact.square().sum(1) - 2 * exact.matmul(exact.mean(0));
  return own[cost.argmin().item<int64_t>()];
}

}  // namespace

PinnerSageBaseline::PinnerSageBaseline(const Dataset& dataset, const PinnerSageOptions& options)
    : vectors_(content_vectors(dataset, "pinnersage")), options_(options) {}

torch::Tensor PinnerSageBaseline::medoids(const HistoryPrefix& prefix) const {
  const RecentItems recent = recent_items(prefix, vectors_, options_);
  if (recent.items.empty()) return torch::zeros({1, vectors_.size(1)});
  const torch::Tensor points = vectors_.index_select(0, torch::tensor(recent.items, torch::kInt64));
  const std::vector<int64_t> labels = ward_clusters(points, options_.max_distance);
  std::vector<torch::Tensor> kept;
  for (const Cluster& cluster : rank_clusters(labels, recent.weights)) {
    if (static_cast<int64_t>(kept.size()) == options_.clusters) break;
    kept.push_back(medoid_of(points, cluster.members));
  }
  return torch::stack(kept);
}

QueryVectors PinnerSageBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  QueryVectors result;
  std::vector<torch::Tensor> vectors;
  for (const HistoryPrefix& prefix : prefixes) {
    vectors.push_back(medoids(prefix));
    result.counts.push_back(vectors.back().size(0));
  }
  result.vectors = torch::cat(vectors);
  return result;
}

}  // namespace pinnerformer
