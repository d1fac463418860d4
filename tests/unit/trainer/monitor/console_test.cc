// The line of a logged step and the progress bar.
#include "trainer/monitor/console.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace pinnerformer {
namespace {

StepRecord record() {
  StepRecord record;
  record.step = 120;
  record.loss = 8.40378;
  record.grad_norm = 14.58;
  record.learning_rate = 1.8e-4;
  record.users_per_second = 1234.4;
  record.step_ms = 50;
  record.data_wait_ms = 1;
  record.comm_wait_ms = 6;
  record.memory_mib = 512.2;
  return record;
}

TEST(Console, LineHasTheFieldsOfARecord) {
  EXPECT_EQ(console_line(record(), 500),
            "step 120/500  loss 8.4038  left 0:00:19  1234 users/s  data 2%  comm 12%  grad 14.6  "
            "lr 0.00018")
      << "the memory no longer fits";
  StepRecord shorter = record();
  shorter.step = 1;
  shorter.loss = 7;
  EXPECT_EQ(console_line(shorter, 9),
            "step 1/9  loss 7  left 0:00:00  1234 users/s  data 2%  comm 12%  grad 14.6  "
            "lr 0.00018  512 MiB");
}

TEST(Console, NoLineHasMoreThanAHundredColumns) {
  for (const double extreme : {0.0, 1e-300, 1e300, -1e300, double(INFINITY), double(NAN)})
    for (const int64_t step : {int64_t{1}, std::numeric_limits<int64_t>::max()}) {
      StepRecord r;
      r.step = step;
      r.loss = r.grad_norm = r.learning_rate = r.users_per_second = r.step_ms = r.data_wait_ms =
          r.comm_wait_ms = r.memory_mib = extreme;
      const std::string line = console_line(r, std::numeric_limits<int64_t>::max());
      EXPECT_LE(line.size(), 100U) << line;
      EXPECT_NE(line.find("loss"), std::string::npos) << line;
    }
}

TEST(Console, ClockCountsHours) {
  EXPECT_EQ(clock_text(0), "0:00:00");
  EXPECT_EQ(clock_text(3723.9), "1:02:03");
  EXPECT_EQ(clock_text(100 * 3600), "100:00:00");
  EXPECT_EQ(clock_text(NAN), clock_text(1e300));
}

TEST(Console, BarIsFilledByTheShareThatIsDone) {
  EXPECT_EQ(bar_text(25, 100, 62), "[######------------------]  25 %  step 25/100  left 0:01:02");
  EXPECT_EQ(bar_text(100, 100, 0), "[########################] 100 %  step 100/100  left 0:00:00");
  EXPECT_EQ(bar_text(999, 1000, 1).substr(27, 5), " 99 %") << "100 % is the end alone";
  EXPECT_LE(bar_text(INT32_MAX, INT32_MAX, 1e9).size(), 100U);
}

}  // namespace
}  // namespace pinnerformer
