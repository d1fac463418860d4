// Ward's clustering against values worked out by hand and against a plain greedy implementation.
#include "trainer/evaluation/ward_clusters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

torch::Tensor on_a_line(const std::vector<float>& values) {
  return torch::tensor(values).unsqueeze(1);
}

TEST(WardClustersTest, LinkageOfPointsOnALine) {
  const auto merges = ward_linkage(on_a_line({0.0F, 5.0F, 1.0F, 6.5F, 20.0F}));
  ASSERT_THAT(merges, SizeIs(4));
  EXPECT_EQ(merges[0].first, 0);
  EXPECT_EQ(merges[0].second, 2);
  EXPECT_DOUBLE_EQ(merges[0].distance, 1);
  EXPECT_EQ(merges[1].first, 1);
  EXPECT_EQ(merges[1].second, 3);
  EXPECT_DOUBLE_EQ(merges[1].distance, 1.5);
  // Two pairs with means .5 and 5.75, then four points with mean 3.125 and one at 20.
  EXPECT_NEAR(merges[2].distance, std::sqrt(2.0) * 5.25, 1e-9);
  EXPECT_NEAR(merges[3].distance, std::sqrt(1.6) * 16.875, 1e-9);
}

TEST(WardClustersTest, CutIsInclusiveAndNumberedByFirstPoint) {
  const torch::Tensor points = on_a_line({20.0F, 0.0F, 5.0F, 1.0F, 6.5F});
  EXPECT_THAT(ward_clusters(points, 0.5), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(ward_clusters(points, 1.0), ElementsAre(0, 1, 2, 1, 3));
  EXPECT_THAT(ward_clusters(points, 2.0), ElementsAre(0, 1, 2, 1, 2));
  EXPECT_THAT(ward_clusters(points, 8.0), ElementsAre(0, 1, 1, 1, 1));
  EXPECT_THAT(ward_clusters(points, 100.0), ElementsAre(0, 0, 0, 0, 0));
}

TEST(WardClustersTest, OnePointAndEqualPoints) {
  EXPECT_THAT(ward_linkage(on_a_line({3.0F})), IsEmpty());
  EXPECT_THAT(ward_clusters(on_a_line({3.0F}), 1), ElementsAre(0));
  EXPECT_THAT(ward_clusters(on_a_line({3, 3, 3, 3, 9}), 0), ElementsAre(0, 0, 0, 0, 1));
}

// Merges the two nearest clusters by the definition, again and again: distances by size of merge.
std::vector<double> greedy_distances(const torch::Tensor& points) {
  std::vector<torch::Tensor> clusters;
  for (int64_t i = 0; i < points.size(0); ++i) clusters.push_back(points.narrow(0, i, 1));
  std::vector<double> distances;
  while (clusters.size() > 1) {
    double best = std::numeric_limits<double>::infinity();
    size_t first = 0;
    size_t second = 0;
    for (size_t a = 0; a < clusters.size(); ++a) {
      for (size_t b = a + 1; b < clusters.size(); ++b) {
        const auto n = static_cast<double>(clusters[a].size(0));
        const auto m = static_cast<double>(clusters[b].size(0));
        const double gap = (clusters[a].mean(0) - clusters[b].mean(0)).norm().item<double>();
        const double distance = std::sqrt(2 * n * m / (n + m)) * gap;
        if (distance >= best) continue;
        best = distance;
        first = a;
        second = b;
      }
    }
    distances.push_back(best);
    clusters[first] = torch::cat({clusters[first], clusters[second]});
    clusters.erase(clusters.begin() + static_cast<std::ptrdiff_t>(second));
  }
  return distances;
}

TEST(WardClustersTest, EqualsTheGreedyDefinition) {
  for (int64_t seed = 0; seed < 5; ++seed) {
    KeyedRandom random(RandomStream::kEvaluation, {seed});
    torch::Tensor points = torch::empty({17, 3}, torch::kFloat64);
    for (int64_t i = 0; i < points.numel(); ++i) {
      points.mutable_data_ptr<double>()[i] = random.uniform();
    }
    const std::vector<double> expected = greedy_distances(points);
    const auto merges = ward_linkage(points);
    ASSERT_EQ(merges.size(), expected.size());
    for (size_t i = 0; i < merges.size(); ++i) {
      EXPECT_NEAR(merges[i].distance, expected[i], 1e-9) << "merge " << i << ", seed " << seed;
    }
  }
}

}  // namespace
}  // namespace pinnerformer
