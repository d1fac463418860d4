// Which rank, host or clock `doctor` names, given what all ranks measured.
#include "launch/doctor/rank_comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace pinnerformer {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kHosts = {"a", "a", "b", "b"};

TEST(RankComparison, SlowRankIsNamed) {
  const Check found = rate_check("copy", "GB/s", {10, 11, 10, 6.9}, kHosts);
  EXPECT_EQ(found.name, "copy");
  EXPECT_EQ(found.health, Health::kNote);
  EXPECT_EQ(found.finding, "the slowest, rank 3 on b, has 6.9 GB/s; the median is 10 GB/s");
}

TEST(RankComparison, AlikeRanksAreFine) {
  EXPECT_EQ(rate_check("copy", "GB/s", {10, 8, 10, 9}, kHosts).health, Health::kOk);
  EXPECT_EQ(rate_check("copy", "GB/s", {10}, {"a"}).finding, "10 GB/s");
}

TEST(RankComparison, RankThatMeasuredNothingIsTheSlowest) {
  const Check found = rate_check("copy", "GB/s", {10, std::nan(""), 10, 9}, kHosts);
  EXPECT_EQ(found.health, Health::kNote);
  EXPECT_THAT(found.finding, HasSubstr("rank 1 on a, has 0 GB/s"));
}

// Host b is two seconds ahead; a reading of rank 1 came late, once.
TEST(RankComparison, ClocksOfHostsAreCompared) {
  constexpr int64_t kSecond = 1'000'000'000, kNow = 1'700'000'000 * kSecond;
  std::vector<std::vector<int64_t>> readings(
      3, {kNow, kNow + 1000, kNow + 2 * kSecond, kNow + 2 * kSecond + 1000});
  readings[1][1] += 5 * kSecond;
  const Check found = clock_check(readings, kHosts);
  EXPECT_EQ(found.health, Health::kNote);
  EXPECT_THAT(found.finding, HasSubstr("b is 2 s ahead of a"));
  for (auto& reading : readings)
    for (const size_t rank : {size_t{2}, size_t{3}}) reading[rank] -= 2 * kSecond - 1'000'000;
  EXPECT_EQ(clock_check(readings, kHosts).health, Health::kOk);
  EXPECT_EQ(clock_check(readings, {"a", "a", "a", "a"}).finding, "one host");
}

TEST(RankComparison, HostsWithMoreThreadsThanCoresAreNamed) {
  std::vector<RankCores> ranks(4, RankCores{.cores = {0, 1}, .threads = 1});
  EXPECT_EQ(shared_cores_check(ranks, kHosts).health, Health::kOk);
  ranks[3].threads = 2;
  const Check found = shared_cores_check(ranks, kHosts);
  EXPECT_EQ(found.health, Health::kNote);
  EXPECT_THAT(found.finding, HasSubstr("b: 3 thread(s) of its ranks on 2 core(s)"));
  ranks[3].cores = {2, 3};
  EXPECT_EQ(shared_cores_check(ranks, kHosts).health, Health::kOk);
}

}  // namespace
}  // namespace pinnerformer
