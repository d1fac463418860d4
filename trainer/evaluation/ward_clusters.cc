// Nearest-neighbour chains with the Lance-Williams update: n * n steps instead of n * n * n. Ward's
// distance is reducible, so merging mutual nearest neighbours early gives the same tree.
#include "trainer/evaluation/ward_clusters.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pinnerformer {
namespace {

constexpr int64_t kNone = -1;

class WardTree {
 public:
  explicit WardTree(const torch::Tensor& points)
      : count_(points.size(0)), sizes_(static_cast<size_t>(count_), 1) {
    const torch::Tensor exact = points.to(torch::kFloat64);
    const torch::Tensor norms = exact.square().sum(1, /*keepdim=*/true);
    squares_ = (norms + norms.t() - 2 * exact.matmul(exact.t())).clamp_min(0).contiguous();
  }

  std::vector<WardMerge> build() {
    std::vector<WardMerge> merges;
    std::vector<int64_t> chain;
    while (static_cast<int64_t>(merges.size()) + 1 < count_) {
      if (chain.empty()) chain.push_back(first_alive());
      const int64_t previous = chain.size() > 1 ? chain[chain.size() - 2] : kNone;
      const int64_t nearest = nearest_to(chain.back(), previous);
      if (nearest != previous) {
        chain.push_back(nearest);
        continue;
      }
      const int64_t last = chain.back();
      chain.resize(chain.size() - 2);
      merges.push_back(merge(std::min(last, previous), std::max(last, previous)));
    }
    std::stable_sort(merges.begin(), merges.end(), [](const WardMerge& a, const WardMerge& b) {
      return a.distance < b.distance;
    });
    return merges;
  }

 private:
  double& square(int64_t a, int64_t b) {
    return squares_.mutable_data_ptr<double>()[a * count_ + b];
  }
  [[nodiscard]] int64_t size(int64_t cluster) const { return sizes_[static_cast<size_t>(cluster)]; }

  [[nodiscard]] int64_t first_alive() const {
    const auto alive = std::find_if(sizes_.begin(), sizes_.end(), [](int64_t n) { return n > 0; });
    return alive - sizes_.begin();
  }

  // Of equally near ones: `preferred`, so that the chain ends, else the smallest number.
  int64_t nearest_to(int64_t cluster, int64_t preferred) {
    int64_t nearest = preferred;
    double best =
        preferred == kNone ? std::numeric_limits<double>::infinity() : square(cluster, preferred);
    for (int64_t other = 0; other < count_; ++other) {
      if (other == cluster || size(other) == 0 || square(cluster, other) >= best) continue;
      best = square(cluster, other);
      nearest = other;
    }
    return nearest;
  }

  WardMerge merge(int64_t a, int64_t b) {
    const WardMerge result{.first = a, .second = b, .distance = std::sqrt(square(a, b))};
    const auto size_a = static_cast<double>(size(a));
    const auto size_b = static_cast<double>(size(b));
    for (int64_t other = 0; other < count_; ++other) {
      if (other == a || other == b || size(other) == 0) continue;
      const auto size_other = static_cast<double>(size(other));
      const double updated =
          ((size_a + size_other) * square(a, other) + (size_b + size_other) * square(b, other) -
           size_other * square(a, b)) /
          (size_a + size_b + size_other);
      square(a, other) = square(other, a) = std::max(0.0, updated);
    }
    sizes_[static_cast<size_t>(a)] += size(b);
    sizes_[static_cast<size_t>(b)] = 0;
    return result;
  }

  int64_t count_;
  torch::Tensor squares_;       // [n, n] squared Ward distances, valid between living clusters
  std::vector<int64_t> sizes_;  // points of a cluster; 0: merged into another
};

}  // namespace

std::vector<WardMerge> ward_linkage(const torch::Tensor& points) {
  return WardTree(points).build();
}

std::vector<int64_t> ward_clusters(const torch::Tensor& points, double max_distance) {
  // The parent of every cluster has a smaller number, so labels are known in ascending order.
  std::vector<int64_t> parent(static_cast<size_t>(points.size(0)));
  std::iota(parent.begin(), parent.end(), int64_t{0});
  for (const WardMerge& merge : ward_linkage(points)) {
    if (merge.distance <= max_distance) parent[static_cast<size_t>(merge.second)] = merge.first;
  }
  std::vector<int64_t> labels(parent.size());
  int64_t clusters = 0;
  for (size_t i = 0; i < parent.size(); ++i) {
    const auto up = static_cast<size_t>(parent[i]);
    labels[i] = up == i ? clusters++ : labels[up];
  }
  return labels;
}

}  // namespace pinnerformer
