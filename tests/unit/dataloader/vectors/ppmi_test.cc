// The matrix that is never stored, against the same matrix stored.
#include "dataloader/vectors/ppmi.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "dataloader/base/random.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

constexpr int64_t kPpmiItems = 40;

// Counts of a few random pairs; items 30 to 39 have none.
CoOccurrence random_counts(const std::string& path_prefix) {
  PairCounter counter(path_prefix, 1 << 10);
  KeyedRandom random(RandomStream::kProjection, {1});
  for (int64_t i = 0; i < 800; ++i) {
    // Small numbers are likelier, so that counts differ.
    const auto a = static_cast<uint32_t>(random.below(random.below(30) + 1));
    const auto b = static_cast<uint32_t>(random.below(30));
    if (a != b) counter.add(a, b);
  }
  CoOccurrence counts{
      .items = {}, .users = {}, .degree = {}, .pairs = counter.finish(), .statistics = {}};
  counts.degree.assign(kPpmiItems, 0);
  counts.pairs.visit([&](const PairCount& pair) {
    counts.degree[pair.row] += pair.count;
    counts.degree[pair.column] += pair.count;
  });
  return counts;
}

// Straight from the definition, with probabilities instead of differences of logarithms.
torch::Tensor dense_ppmi(const CoOccurrence& counts, double smoothing) {
  torch::Tensor joint = torch::zeros({kPpmiItems, kPpmiItems}, torch::kFloat64);
  counts.pairs.visit([&](const PairCount& pair) {
    joint[pair.row][pair.column] = static_cast<double>(pair.count);
    joint[pair.column][pair.row] = static_cast<double>(pair.count);
  });
  const torch::Tensor degree = joint.sum(1);
  joint /= joint.sum();
  const torch::Tensor item = joint.sum(1, /*keepdim=*/true);
  torch::Tensor context = torch::where(degree > 0, degree.pow(smoothing), 0.0);
  context /= context.sum();
  const torch::Tensor pmi = (joint / (item * context)).log();
  return torch::where(joint > 0, pmi.clamp_min(0), 0.0);
}

TEST(Ppmi, ProductsEqualThoseOfTheStoredMatrix) {
  const TemporaryDirectory directory;
  const CoOccurrence counts = random_counts(directory / "pairs-");
  for (const double smoothing : {0.75, 1.0, 0.0}) {
    const torch::Tensor dense = dense_ppmi(counts, smoothing);
    ASSERT_GT(dense.max().item<double>(), 0.5);
    const PpmiMatrix matrix(counts, smoothing);
    const torch::Tensor x =
        torch::randn({kPpmiItems, 21}, torch::kFloat64);  // not a whole lane group
    const torch::Tensor single = x.to(torch::kFloat32);
    EXPECT_LT((matrix.times(single) - dense.mm(x)).abs().max().item<double>(), 1e-4);
    EXPECT_LT((matrix.transposed_times(single) - dense.t().mm(x)).abs().max().item<double>(), 1e-4);
    const torch::Tensor norms = dense.norm(2, 1);
    EXPECT_LT((matrix.row_norms() - norms).abs().max().item<double>(), 1e-5);
    EXPECT_EQ(matrix.row_norms()[kPpmiItems - 1].item<float>(), 0);
  }
}

TEST(Ppmi, ThreadsChangeNoBit) {
  const TemporaryDirectory directory;
  const CoOccurrence counts = random_counts(directory / "pairs-");
  const PpmiMatrix matrix(counts, 0.75);
  const torch::Tensor x = torch::randn({kPpmiItems, 70});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const torch::Tensor alone = matrix.times(x);
  at::set_num_threads(3);
  EXPECT_TRUE(torch::equal(matrix.times(x), alone));
  at::set_num_threads(threads);
}

TEST(Ppmi, SmoothingMakesItUnsymmetric) {
  const TemporaryDirectory directory;
  const CoOccurrence counts = random_counts(directory / "pairs-");
  const torch::Tensor eye = torch::eye(kPpmiItems);
  const PpmiMatrix smoothed(counts, 0.75);
  EXPECT_GT((smoothed.times(eye) - smoothed.transposed_times(eye)).abs().max().item<float>(), 0.1);
  const PpmiMatrix plain(counts, 1.0);
  EXPECT_LT((plain.times(eye) - plain.transposed_times(eye)).abs().max().item<float>(), 1e-5);
}

}  // namespace
}  // namespace pinnerformer
