// The watchdogs of 1,024 ranks in one process, without tensors: when a lost rank is found, and what
// that costs rank 0.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <future>
#include <iostream>

#include "comm/watchdog/watchdog.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr int kRanks = 1024, kLost = 517;
constexpr double kDeadline = 8;  // seconds

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

// Of the calling thread.
double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

// Every rank has a socket, and the process a limit of open files.
bool can_open(rlim_t files) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur >= files;
}

struct Found {
  std::string report;
  double cpu = 0;  // of the thread that found it, since it began
  Clock::time_point time;
};

CommOptions deadlines() {
  CommOptions options;
  options.first_timeout_seconds = options.timeout_seconds = kDeadline;
  options.straggler_seconds = 1000;
  return options;
}

TEST(WatchdogScale, ALostRankOf1024IsFoundInTimeAndAtLittleCost) {
  if (!can_open(2 * kRanks)) GTEST_SKIP() << "the limit of open files (ulimit -Hn) is too low";
  std::promise<Found> promise;
  std::shared_future<Found> found = promise.get_future();
  std::atomic<int> connected = 0;
  Clock::time_point waits_since;
  const Clock::time_point begin = Clock::now();
  double start_seconds = 0;
  run_ranks(
      kRanks,
      [&](Communicator& comm) {
        Watchdog::Events events;
        if (comm.rank() == 0)
          events.expired = [&](const std::string& report) {
            promise.set_value({report, cpu_seconds(), Clock::now()});
          };
        else
          events.expired = [](const std::string&) {};
        Watchdog watchdog(deadlines(), comm.rank(), events);
        watchdog.connect(comm);
        if (++connected == kRanks) start_seconds = seconds_since(begin);
        watchdog.enter(3, "forward");
        if (comm.rank() == kLost) return;  // its heartbeats end
        if (comm.rank() == 0) waits_since = Clock::now();
        const Watchdog::Wait wait(watchdog, watchdog.begin("pairs"), "pairs");
        found.wait();
      },
      /*timeout_seconds=*/120);
  const Found answer = found.get();
  const double found_after = std::chrono::duration<double>(answer.time - waits_since).count();
  const double share = answer.cpu / (start_seconds + found_after);
  std::cout << kRanks << " ranks: connected after " << start_seconds << " s, rank " << kLost
            << " found after " << found_after << " s (deadline " << kDeadline
            << " s), rank 0's watchdog took " << 100 * share << " % of a core\n";
  EXPECT_THAT(answer.report, HasSubstr(std::to_string(kLost)));
  EXPECT_LT(found_after, kDeadline + 10);
  EXPECT_LT(share, 0.05);
}

}  // namespace
}  // namespace pinnerformer
