// Time limits: of people, of Slurm, and which of them counts.
#include "launch/job/job_deadline.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "configs/duration.h"

namespace pinnerformer {
namespace {

using std::chrono::steady_clock;

double seconds_left(const std::string& stop_after) {
  const auto deadline = job_deadline(stop_after);
  if (!deadline) return -1;
  return std::chrono::duration<double>(*deadline - steady_clock::now()).count();
}

TEST(JobDeadline, DurationsAsPeopleWriteThem) {
  EXPECT_EQ(parse_duration("90s"), 90);
  EXPECT_EQ(parse_duration("45m"), 45 * 60);
  EXPECT_EQ(parse_duration("1d11h30m5s"), ((24 + 11) * 60 + 30) * 60 + 5);
  for (const char* text :
       {"", "90", "m", "1h1h", "30m1h", "-5s", "+5s", "1.5h", "5 s", "0s", "5sx", "99999999999s"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(JobDeadline, TimesAsSlurmWritesThem) {
  EXPECT_EQ(parse_slurm_time("0:05"), 5);
  EXPECT_EQ(parse_slurm_time("12:34"), 12 * 60 + 34);
  EXPECT_EQ(parse_slurm_time("2:03:04"), 2 * 3600 + 3 * 60 + 4);
  EXPECT_EQ(parse_slurm_time("1-02:03:04"), 26 * 3600 + 3 * 60 + 4);
  for (const char* text : {"", "UNLIMITED", "NOT_SET", "INVALID", "17", "1-2", "1:2:3:4", "-1:00",
                           "1:00x", "1-", "slurm_load_jobs"})
    EXPECT_FALSE(parse_slurm_time(text)) << text;
}

TEST(JobDeadline, TheEarlierLimitCounts) {
  ::unsetenv("SLURM_JOB_ID");
  ::unsetenv("SLURM_JOB_END_TIME");
  EXPECT_EQ(seconds_left(""), -1);
  EXPECT_NEAR(seconds_left("2h"), 7200, 60);
  EXPECT_NEAR(seconds_left("200000d"), 1e9, 60) << "more nanoseconds than 64 bits hold";
  ::setenv("SLURM_JOB_END_TIME", std::to_string(std::time(nullptr) + 3600).c_str(), 1);
  EXPECT_NEAR(seconds_left(""), 3600, 60);
  EXPECT_NEAR(seconds_left("2h"), 3600, 60);
  EXPECT_NEAR(seconds_left("30m"), 1800, 60);
  ::unsetenv("SLURM_JOB_END_TIME");
}

}  // namespace
}  // namespace pinnerformer
