// Counts in fixed memory: never too few, rarely many too many.
#include "trainer/objective/count_min_sketch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

// Keys with a popularity that falls like a power law, as items have.
std::map<uint64_t, int64_t> add_skewed(CountMinSketch& sketch, int64_t draws, int64_t seed) {
  KeyedRandom random(RandomStream::kSynth, {seed});
  std::map<uint64_t, int64_t> exact;
  for (int64_t i = 0; i < draws; ++i) {
    const auto key = static_cast<uint64_t>(std::pow(20000.0, random.uniform()));
    sketch.add(key);
    ++exact[key];
  }
  return exact;
}

TEST(CountMinSketch, NeverCountsTooFewAndStaysWithinTheBound) {
  constexpr int64_t kDraws = 50'000;
  for (const int64_t depth : {1, 2, 4}) {
    for (const int64_t width : {64, 1024, 4096}) {
      CountMinSketch sketch(depth, width, 9);
      const auto exact = add_skewed(sketch, kDraws, depth);
      EXPECT_EQ(sketch.total(), kDraws);
      const double bound = kDraws * std::exp(1.0) / static_cast<double>(width);
      double beyond = 0;
      for (uint64_t key = 0; key < 20'000; ++key) {
        const auto found = exact.find(key);
        const int64_t truth = found == exact.end() ? 0 : found->second;
        EXPECT_GE(sketch.count(key), truth);
        if (static_cast<double>(sketch.count(key) - truth) > bound) ++beyond;
      }
      EXPECT_LE(beyond / 20'000, std::exp(-static_cast<double>(depth))) << depth << " x " << width;
    }
  }
}

TEST(CountMinSketch, IsExactWhereItIsWideEnough) {
  CountMinSketch sketch(4, 1 << 20, 3);
  for (const auto& [key, count] : add_skewed(sketch, 20'000, 1))
    EXPECT_EQ(sketch.count(key), count);
}

TEST(CountMinSketch, RowsHashDifferently) {
  // With equal hashes in both rows depth would buy nothing: compare with depth 1.
  CountMinSketch one(1, 256, 5), four(4, 256, 5);
  int64_t error_one = 0, error_four = 0;
  for (const auto& [key, count] : add_skewed(one, 20'000, 1)) error_one += one.count(key) - count;
  for (const auto& [key, count] : add_skewed(four, 20'000, 1))
    error_four += four.count(key) - count;
  EXPECT_LT(error_four, error_one / 2);
}

TEST(CountMinSketch, SaltChangesTheHashes) {
  CountMinSketch one(1, 256, 5), two(1, 256, 6);
  add_skewed(one, 2'000, 1);
  add_skewed(two, 2'000, 1);
  EXPECT_FALSE(torch::equal(one.counters(), two.counters()));
}

TEST(CountMinSketch, LoadTakesBackWhatCountersGave) {
  CountMinSketch sketch(2, 512, 7);
  add_skewed(sketch, 5'000, 2);
  const torch::Tensor saved = sketch.counters().clone();
  CountMinSketch copy(2, 512, 7);
  copy.load(saved);
  EXPECT_EQ(copy.total(), 5'000);
  for (uint64_t key = 0; key < 1000; ++key) EXPECT_EQ(copy.count(key), sketch.count(key));
  copy.add(3);  // the copy goes its own way
  EXPECT_TRUE(torch::equal(saved, sketch.counters()));
  EXPECT_EQ(copy.count(3), sketch.count(3) + 1);
}

TEST(CountMinSketch, RefusesAWidthThatIsNoPowerOfTwo) {
  EXPECT_THROW(CountMinSketch(2, 1000, 1), c10::Error);
  EXPECT_THROW(CountMinSketch(0, 1024, 1), c10::Error);
  EXPECT_THROW(CountMinSketch(2, 0, 1), c10::Error);
}

}  // namespace
}  // namespace pinnerformer
