// The plan of gradient buckets: every parameter once, last to first, within the caps.
#include "comm/gradients/bucket_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/options.h"
#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;

// The last bucket may be as large as any.
std::vector<Bucket> plan_of(std::span<const int64_t> bytes, int64_t first_cap, int64_t cap) {
  return plan_buckets(bytes, {.first = first_cap, .other = cap, .last = cap});
}

std::vector<std::vector<size_t>> params_of(const std::vector<Bucket>& plan) {
  std::vector<std::vector<size_t>> params;
  for (const Bucket& bucket : plan) params.push_back(bucket.params);
  return params;
}

TEST(BucketPlan, NothingGivesNoBucket) { EXPECT_TRUE(plan_of({}, 10, 100).empty()); }

TEST(BucketPlan, WalksFromLastToFirst) {
  const std::vector<int64_t> bytes{4, 4, 4, 4, 4};
  EXPECT_THAT(params_of(plan_of(bytes, 8, 8)),
              ElementsAre(ElementsAre(4, 3), ElementsAre(2, 1), ElementsAre(0)));
}

TEST(BucketPlan, FirstBucketHasItsOwnSmallCap) {
  const std::vector<int64_t> bytes{4, 4, 4, 4, 4, 4, 4};
  EXPECT_THAT(params_of(plan_of(bytes, 4, 12)),
              ElementsAre(ElementsAre(6), ElementsAre(5, 4, 3), ElementsAre(2, 1, 0)));
}

TEST(BucketPlan, ExactlyFullBucketStaysWhole) {
  const std::vector<int64_t> bytes{3, 5, 2, 6};
  const auto plan = plan_of(bytes, 8, 8);
  EXPECT_THAT(params_of(plan), ElementsAre(ElementsAre(3, 2), ElementsAre(1, 0)));
  EXPECT_EQ(plan[0].bytes, 8);
  EXPECT_EQ(plan[1].bytes, 8);
}

TEST(BucketPlan, OversizeGradientTravelsAlone) {
  const std::vector<int64_t> bytes{2, 2, 50, 2, 2};
  EXPECT_THAT(params_of(plan_of(bytes, 10, 10)),
              ElementsAre(ElementsAre(4, 3), ElementsAre(2), ElementsAre(1, 0)));
  const std::vector<int64_t> at_the_ends{50, 2, 50};
  EXPECT_THAT(params_of(plan_of(at_the_ends, 10, 10)),
              ElementsAre(ElementsAre(2), ElementsAre(1), ElementsAre(0)));
}

TEST(BucketPlan, TheLastBucketIsCutToItsOwnCap) {
  const std::vector<int64_t> bytes{4, 4, 4, 4, 4, 4, 4};
  const auto plan = [&](int64_t last) {
    return params_of(plan_buckets(bytes, {.first = 4, .other = 12, .last = last}));
  };
  EXPECT_THAT(plan(12), ElementsAre(ElementsAre(6), ElementsAre(5, 4, 3), ElementsAre(2, 1, 0)));
  EXPECT_THAT(plan(8),
              ElementsAre(ElementsAre(6), ElementsAre(5, 4, 3), ElementsAre(2), ElementsAre(1, 0)));
  EXPECT_THAT(plan(4),
              ElementsAre(ElementsAre(6), ElementsAre(5, 4, 3), ElementsAre(2, 1), ElementsAre(0)));
}

TEST(BucketPlan, ALargeGradientThatIsReadyLastTravelsAlone) {
  const std::vector<int64_t> bytes{50, 3, 3}, alone{50};
  const BucketCaps caps{.first = 2, .other = 100, .last = 4};
  EXPECT_THAT(params_of(plan_buckets(bytes, caps)),
              ElementsAre(ElementsAre(2), ElementsAre(1), ElementsAre(0)));
  EXPECT_THAT(params_of(plan_buckets(alone, caps)), ElementsAre(ElementsAre(0)));
}

TEST(BucketPlan, BucketsGrowBeyond32Gpus) {
  CommOptions options;
  EXPECT_EQ(bucket_mib_for(options, 1, /*gpus=*/true), 25);
  EXPECT_EQ(bucket_mib_for(options, 32, /*gpus=*/true), 25);
  EXPECT_EQ(bucket_mib_for(options, 33, /*gpus=*/true), 64);
  EXPECT_EQ(bucket_mib_for(options, 1024, /*gpus=*/false), 25);
  options.bucket_mib = 3;
  EXPECT_EQ(bucket_mib_for(options, 1024, /*gpus=*/true), 3);
}

TEST(BucketPlan, RandomPlansKeepEveryPromise) {
  for (int64_t seed = 0; seed < 300; ++seed) {
    KeyedRandom random(RandomStream::kSynth, {seed});
    std::vector<int64_t> bytes(static_cast<size_t>(random.below(40)));
    for (int64_t& size : bytes) size = 4 * (1 + random.below(30));
    const int64_t first_cap = 1 + random.below(60), cap = first_cap + random.below(100);
    const int64_t last_cap = 1 + random.below(cap);
    const auto plan = plan_buckets(bytes, {.first = first_cap, .other = cap, .last = last_cap});
    const auto uncut = plan_of(bytes, first_cap, cap);
    EXPECT_LE(plan.size(), uncut.size() + 1);

    std::vector<size_t> visited;
    for (size_t b = 0; b < plan.size(); ++b) {
      int64_t sum = 0;
      for (const size_t param : plan[b].params) sum += bytes.at(param);
      EXPECT_EQ(sum, plan[b].bytes);
      EXPECT_FALSE(plan[b].params.empty());
      const bool last = b + 1 == plan.size();
      const int64_t limit = last ? last_cap : b == 0 ? first_cap : cap;
      EXPECT_TRUE(sum <= limit || plan[b].params.size() == 1) << sum << " > " << limit;
      // A bucket is closed only where the next gradient would exceed the cap: that of the bucket,
      // or that of the last one, which was cut.
      if (!last) {
        const bool cut = plan.size() > uncut.size() && b + 2 == plan.size();
        const int64_t more = cut ? plan[b + 1].bytes + bytes[plan[b].params.back()]
                                 : sum + bytes[plan[b + 1].params[0]];
        EXPECT_GT(more, cut ? last_cap : limit);
      }
      visited.insert(visited.end(), plan[b].params.begin(), plan[b].params.end());
    }
    ASSERT_EQ(visited.size(), bytes.size());
    for (size_t i = 0; i < visited.size(); ++i) EXPECT_EQ(visited[i], bytes.size() - 1 - i);
  }
}

}  // namespace
}  // namespace pinnerformer
