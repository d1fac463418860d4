// Linear warm-up, cosine to zero.
#include "trainer/optimizer/lr_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pinnerformer {
namespace {

OptimizerOptions with_warmup(int64_t steps) {
  OptimizerOptions options;
  options.learning_rate = 0.5;
  options.warmup_steps = steps;
  return options;
}

TEST(LrSchedule, WarmsUpLinearlyAndNeverStartsAtZero) {
  const OptimizerOptions options = with_warmup(10);
  for (int64_t step = 0; step < 10; ++step)
    EXPECT_DOUBLE_EQ(learning_rate_at(step, 100, options), 0.05 * static_cast<double>(step + 1));
}

TEST(LrSchedule, FollowsACosineAfterWarmUp) {
  const OptimizerOptions options = with_warmup(10);
  EXPECT_DOUBLE_EQ(learning_rate_at(10, 110, options), 0.5);
  EXPECT_NEAR(learning_rate_at(35, 110, options), 0.25 * (1 + std::sqrt(0.5)), 1e-12);
  EXPECT_NEAR(learning_rate_at(60, 110, options), 0.25, 1e-12);
  EXPECT_NEAR(learning_rate_at(110, 110, options), 0, 1e-12);
  for (int64_t step = 10; step < 109; ++step) {
    EXPECT_GT(learning_rate_at(step, 110, options), learning_rate_at(step + 1, 110, options));
    EXPECT_GT(learning_rate_at(step, 110, options), 0);
  }
}

TEST(LrSchedule, StaysAtZeroBeyondTheEnd) {
  EXPECT_NEAR(learning_rate_at(5000, 110, with_warmup(10)), 0, 1e-12);
}

TEST(LrSchedule, WorksWithoutWarmUpAndWithNothingElse) {
  EXPECT_DOUBLE_EQ(learning_rate_at(0, 100, with_warmup(0)), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_at(9, 10, with_warmup(10)), 0.5);
  EXPECT_TRUE(std::isfinite(learning_rate_at(0, 0, with_warmup(0))));
  EXPECT_DOUBLE_EQ(learning_rate_at(4, 5, with_warmup(50)), 0.05);
}

}  // namespace
}  // namespace pinnerformer
