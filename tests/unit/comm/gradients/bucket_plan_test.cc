// The plan of gradient buckets: every parameter once, last to first, within the caps.
#include "comm/gradients/bucket_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;

std::vector<std::vector<size_t>> params_of(const std::vector<Bucket>& plan) {
  std::vector<std::vector<size_t>> params;
  for (const Bucket& bucket : plan) params.push_back(bucket.params);
  return params;
}

TEST(BucketPlan, NothingGivesNoBucket) { EXPECT_TRUE(plan_buckets({}, 10, 100).empty()); }

TEST(BucketPlan, WalksFromLastToFirst) {
  const std::vector<int64_t> bytes{4, 4, 4, 4, 4};
  EXPECT_THAT(params_of(plan_buckets(bytes, 8, 8)),
              ElementsAre(ElementsAre(4, 3), ElementsAre(2, 1), ElementsAre(0)));
}

TEST(BucketPlan, FirstBucketHasItsOwnSmallCap) {
  const std::vector<int64_t> bytes{4, 4, 4, 4, 4, 4, 4};
  EXPECT_THAT(params_of(plan_buckets(bytes, 4, 12)),
              ElementsAre(ElementsAre(6), ElementsAre(5, 4, 3), ElementsAre(2, 1, 0)));
}

TEST(BucketPlan, ExactlyFullBucketStaysWhole) {
  const std::vector<int64_t> bytes{3, 5, 2, 6};
  const auto plan = plan_buckets(bytes, 8, 8);
  EXPECT_THAT(params_of(plan), ElementsAre(ElementsAre(3, 2), ElementsAre(1, 0)));
  EXPECT_EQ(plan[0].bytes, 8);
  EXPECT_EQ(plan[1].bytes, 8);
}

TEST(BucketPlan, OversizeGradientTravelsAlone) {
  const std::vector<int64_t> bytes{2, 2, 50, 2, 2};
  EXPECT_THAT(params_of(plan_buckets(bytes, 10, 10)),
              ElementsAre(ElementsAre(4, 3), ElementsAre(2), ElementsAre(1, 0)));
  const std::vector<int64_t> at_the_ends{50, 2, 50};
  EXPECT_THAT(params_of(plan_buckets(at_the_ends, 10, 10)),
              ElementsAre(ElementsAre(2), ElementsAre(1), ElementsAre(0)));
}

TEST(BucketPlan, RandomPlansKeepEveryPromise) {
  for (int64_t seed = 0; seed < 300; ++seed) {
    KeyedRandom random(RandomStream::kSynth, {seed});
    std::vector<int64_t> bytes(static_cast<size_t>(random.below(40)));
    for (int64_t& size : bytes) size = 4 * (1 + random.below(30));
    const int64_t first_cap = 1 + random.below(60), cap = first_cap + random.below(100);
    const auto plan = plan_buckets(bytes, first_cap, cap);

    std::vector<size_t> visited;
    for (size_t b = 0; b < plan.size(); ++b) {
      int64_t sum = 0;
      for (const size_t param : plan[b].params) sum += bytes.at(param);
      EXPECT_EQ(sum, plan[b].bytes);
      EXPECT_FALSE(plan[b].params.empty());
      const int64_t limit = b == 0 ? first_cap : cap;
      EXPECT_TRUE(sum <= limit || plan[b].params.size() == 1) << sum << " > " << limit;
      // A bucket is closed only where the next gradient would exceed the cap.
      if (b + 1 < plan.size()) {
        EXPECT_GT(sum + bytes[plan[b + 1].params[0]], limit);
      }
      visited.insert(visited.end(), plan[b].params.begin(), plan[b].params.end());
    }
    ASSERT_EQ(visited.size(), bytes.size());
    for (size_t i = 0; i < visited.size(); ++i) EXPECT_EQ(visited[i], bytes.size() - 1 - i);
  }
}

}  // namespace
}  // namespace pinnerformer
