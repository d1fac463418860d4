// What a progress line says of the speed.
#include "launch/cli/progress.h"

#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

TEST(Progress, RateIsDoneBySeconds) {
  EXPECT_EQ(rate_text(12'300'000, 10, "events"), "12.3 M events, 1.2 M/s");
  EXPECT_EQ(rate_text(50, 2, "users"), "50 users, 25/s");
}

TEST(Progress, SlowWorkIsGivenBySecondsOfEach) {
  EXPECT_EQ(rate_text(4, 100, "passes"), "4 passes, 25 s each");
  EXPECT_EQ(rate_text(0, 100, "passes"), "0 passes");
}

TEST(Progress, NoRateBeforeASecondWasMeasured) {
  EXPECT_EQ(rate_text(6400, 1e-6, "users"), "6.4 k users");
  EXPECT_EQ(rate_text(6400, 0, "users"), "6.4 k users");
}

}  // namespace
}  // namespace pinnerformer
