// The clustering: centres against the means of their rows, and data that has fewer values than k.
#include "dataloader/vectors/k_means.h"

#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

TEST(KMeans, CentresAreTheMeansOfTheirRows) {
  torch::manual_seed(2);
  const torch::Tensor rows = torch::randn({300, 5});
  KeyedRandom random(RandomStream::kClustering, {3});
  int64_t iterations = 0;
  const torch::Tensor centres = k_means(rows, 6, 40, random, [&] { ++iterations; });
  EXPECT_EQ(iterations, 40);
  const NearestCentres found = nearest_centres(rows, centres);
  for (int64_t centre = 0; centre < 6; ++centre) {
    const torch::Tensor own = found.index.eq(centre).nonzero().squeeze(1);
    ASSERT_GT(own.numel(), 0);
    EXPECT_TRUE(torch::allclose(rows.index_select(0, own).mean(0), centres[centre], 1e-4, 1e-5));
  }
  const torch::Tensor expected = (rows - centres.index_select(0, found.index)).square().sum(1);
  EXPECT_TRUE(torch::allclose(found.squared, expected, 1e-3, 1e-5));
}

// A centre that no row is nearest to stays finite and becomes a row.
TEST(KMeans, MayHaveMoreCentresThanDifferentRows) {
  const torch::Tensor rows = torch::eye(4).repeat({5, 1});
  KeyedRandom random(RandomStream::kClustering, {3});
  const torch::Tensor centres = k_means(rows, 9, 5, random, [] {});
  EXPECT_TRUE(centres.sum(1).eq(1).all().item<bool>()) << centres;
  EXPECT_EQ(nearest_centres(rows, centres).squared.max().item<float>(), 0);
}

}  // namespace
}  // namespace pinnerformer
