// 1,024 ranks in one process, without tensors of a training: how long their comparison before the
// first step takes, when their watchdogs find a lost rank, and what that costs rank 0.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <future>
#include <iostream>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "comm/agreement.h"
#include "comm/watchdog/watchdog.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr int kRanks = 1024, kLost = 517;
constexpr double kDeadline = 8;  // seconds
#ifdef __SANITIZE_ADDRESS__
constexpr bool kMeasures = false;  // AddressSanitizer takes time and memory of its own
#else
constexpr bool kMeasures = true;
#endif

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

// Allocated and not freed, of the whole process.
double heap_bytes() {
  const struct mallinfo2 info = ::mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

// Threads that have just ended still give memory back.
double settled_heap_bytes() {
  constexpr int kMostLooks = 50;
  double last = -1, now = heap_bytes();
  for (int look = 0; look < kMostLooks && now != last; ++look) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    last = std::exchange(now, heap_bytes());
  }
  return now;
}

double bytes_freed_with(std::optional<Watchdog>& watchdog) {
  const double before = settled_heap_bytes();
  watchdog.reset();
  return before - heap_bytes();
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
  std::atomic<int> connected = 0, ended = 0;
  double rank_0_bytes = 0;
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
        std::optional<Watchdog> watchdog(std::in_place, deadlines(), comm.rank(), events);
        watchdog->connect(comm);
        if (++connected == kRanks) start_seconds = seconds_since(begin);
        watchdog->enter(3, "forward");
        if (comm.rank() != kLost) {  // the heartbeats of that one end
          if (comm.rank() == 0) waits_since = Clock::now();
          const Watchdog::Wait wait(*watchdog, watchdog->begin("pairs"), "pairs");
          found.wait();
        }
        if (comm.rank() == 0) {
          while (ended < kRanks - 1) std::this_thread::sleep_for(std::chrono::milliseconds(10));
          rank_0_bytes = bytes_freed_with(watchdog);
          return;
        }
        watchdog.reset();
        ++ended;
      },
      /*timeout_seconds=*/120);
  const Found answer = found.get();
  const double found_after = std::chrono::duration<double>(answer.time - waits_since).count();
  const double share = answer.cpu / (start_seconds + found_after);
  std::cout << kRanks << " ranks: connected after " << start_seconds << " s, rank " << kLost
            << " found after " << found_after << " s (deadline " << kDeadline
            << " s), rank 0's watchdog took " << 100 * share << " % of a core and held "
            << rank_0_bytes / 1024 << " KiB\n";
  EXPECT_THAT(answer.report, HasSubstr(std::to_string(kLost)));
  EXPECT_LT(found_after, kDeadline + 10);
  if (!kMeasures) return;
  EXPECT_LT(share, 0.05);
  EXPECT_GT(rank_0_bytes, kRanks) << "nothing was measured";
  EXPECT_LT(rank_0_bytes, 1 << 20);
}

TEST(WatchdogScale, TheOneRankOf1024WithAnotherConfigurationIsNamed) {
  std::vector<AgreedItem> items = {{"configuration", std::string(20'000, 'c') + "\nseed: 1"},
                                   {"dataset", "fingerprint"}};
  std::optional<Disagreement> found;
  double seconds = 0;
  run_ranks(
      kRanks,
      [&](Communicator& comm) {
        std::vector<AgreedItem> mine = items;
        if (comm.rank() == kLost) mine[0].value += "0";
        comm.barrier("begin");
        const Clock::time_point begin = Clock::now();
        const auto answer = find_disagreement(comm, mine);
        if (comm.rank() != 0) return;
        seconds = seconds_since(begin);
        found = answer;
      },
      /*timeout_seconds=*/120);
  std::cout << kRanks << " ranks compared their configurations in " << seconds << " s\n";
  ASSERT_TRUE(found);
  EXPECT_EQ(found->ranks, std::vector<int>{kLost});
  EXPECT_EQ(found->line_of_other, "seed: 10");
  EXPECT_LT(seconds, 60) << "a start must not wait for it";
}

}  // namespace
}  // namespace pinnerformer
