// The watchdog's thread, with ranks that are threads and heartbeats over the loopback device.
#include "comm/watchdog/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "comm/thread_communicator.h"
#include "comm/watchdog/watched_communicator.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr auto kPatience = std::chrono::seconds(60);

CommOptions deadlines(double first, double later) {
  CommOptions options;
  options.first_timeout_seconds = first;
  options.timeout_seconds = later;
  options.straggler_seconds = 1000;
  return options;
}

// Collects the reports of a watchdog.
struct Listener {
  std::promise<std::string> expired, straggling;
  Watchdog::Events events() {
    return {[this](const std::string& report) { expired.set_value(report); },
            [this](const std::string& report) { straggling.set_value(report); }};
  }
  static std::string text(std::promise<std::string>& promise) {
    auto future = promise.get_future();
    if (future.wait_for(kPatience) != std::future_status::ready) return "no report";
    return future.get();
  }
};

// Stands for work on a device: `state` says whether it is done.
struct DeviceWork : Work {
  explicit DeviceWork(std::function<bool()> state) : state_(std::move(state)) {}
  void wait() override {}
  bool done() override { return state_(); }
  std::function<bool()> state_;
};

TEST(Watchdog, EndsAWaitPastTheDeadlineAndSaysWhereItWas) {
  Listener listener;
  Watchdog watchdog(deadlines(0.1, 0.1), 0, listener.events());
  watchdog.enter(7, "backward");
  const Watchdog::Wait wait(watchdog, watchdog.begin("pairs"), "pairs");
  const std::string report = Listener::text(listener.expired);
  EXPECT_THAT(report, StartsWith("step 7, 'backward', collective 1 'pairs': waited "));
  EXPECT_THAT(report, HasSubstr("the deadline is 0.1 s (comm.first_timeout_seconds"));
}

TEST(Watchdog, TheDeadlineIsLongUntilTheFirstStepIsTaken) {
  Listener listener;
  Watchdog watchdog(deadlines(1000, 0.1), 0, listener.events());
  watchdog.enter(5, "forward");
  const int64_t number = watchdog.begin("pairs");
  auto expired = listener.expired.get_future();
  const Watchdog::Wait wait(watchdog, number, "pairs");
  EXPECT_EQ(expired.wait_for(std::chrono::milliseconds(600)), std::future_status::timeout);
  watchdog.enter(6, "forward");
  ASSERT_EQ(expired.wait_for(kPatience), std::future_status::ready);
  EXPECT_THAT(expired.get(), HasSubstr("(comm.timeout_seconds)"));
}

TEST(Watchdog, OnlyCollectivesHaveADeadline) {
  Listener listener;
  auto expired = listener.expired.get_future();
  Watchdog watchdog(deadlines(0.1, 0.1), 0, listener.events());
  watchdog.enter(1, "save");
  { const Watchdog::Wait wait(watchdog, watchdog.begin("pairs"), "pairs"); }
  EXPECT_EQ(expired.wait_for(std::chrono::milliseconds(600)), std::future_status::timeout);
}

TEST(Watchdog, WatchesWorkOfADeviceThatNobodyWaitsFor) {
  Listener listener;
  Watchdog watchdog(deadlines(0.2, 0.2), 0, listener.events());
  std::atomic<bool> first_asked = false;
  watchdog.track(watchdog.begin("done at once"), "done at once",
                 std::make_shared<DeviceWork>([&] { return first_asked = true; }));
  watchdog.track(watchdog.begin("never done"), "never done",
                 std::make_shared<DeviceWork>([] { return false; }));
  EXPECT_THAT(Listener::text(listener.expired), HasSubstr("collective 2 'never done': waited"));
  EXPECT_TRUE(first_asked);
}

// A query of the driver that does not return, as after a fault of the GPU.
TEST(Watchdog, ADriverThatHangsMissesTheDeadlineToo) {
  Listener listener;
  std::promise<void> answer;
  Watchdog watchdog(deadlines(0.3, 0.3), 0, listener.events());
  watchdog.track(watchdog.begin("bucket 3"), "bucket 3",
                 std::make_shared<DeviceWork>([released = answer.get_future().share()] {
                   released.wait();
                   return true;
                 }));
  const std::string report = Listener::text(listener.expired);
  EXPECT_THAT(report, HasSubstr("'bucket 3': waited"));
  EXPECT_THAT(report, HasSubstr("the GPU's driver has not answered for"));
  answer.set_value();
}

TEST(Watchdog, AFailureOnTheDeviceNeedsNoDeadline) {
  Listener listener;
  Watchdog watchdog(deadlines(1000, 1000), 0, listener.events());
  watchdog.track(watchdog.begin("bucket 3"), "bucket 3",
                 std::make_shared<DeviceWork>([]() -> bool { throw CommError("peer lost"); }));
  EXPECT_THAT(Listener::text(listener.expired), HasSubstr("'bucket 3': peer lost"));
}

// The report of rank `speaker` while rank 1 computes and the others wait in a collective.
std::string report_of_wait(int speaker, bool straggler) {
  Listener listener;
  std::promise<void> over;
  std::shared_future<void> finished = over.get_future();
  std::string report;
  run_ranks(3, [&](Communicator& comm) {
    CommOptions options = deadlines(1000, 1000);
    const bool speaks = comm.rank() == speaker;
    if (speaks && straggler) options.straggler_seconds = 0.3;
    if (speaks && !straggler) options.first_timeout_seconds = options.timeout_seconds = 2;
    Watchdog watchdog(options, comm.rank(), speaks ? listener.events() : Watchdog::Events{});
    watchdog.connect(comm);
    watchdog.enter(4, comm.rank() == 1 ? "wait for data" : "forward");
    if (comm.rank() != 1) {
      const Watchdog::Wait wait(watchdog, watchdog.begin("pairs"), "pairs");
      if (speaks) {
        report = Listener::text(straggler ? listener.straggling : listener.expired);
        over.set_value();
      }
      finished.wait_for(kPatience);
    } else {
      finished.wait_for(kPatience);
    }
  });
  return report;
}

TEST(WatchdogRanks, RankZeroKnowsWhoIsMissing) {
  EXPECT_THAT(report_of_wait(0, /*straggler=*/false),
              testing::AllOf(HasSubstr("not arrived: rank 1 on "),
                             HasSubstr("alive, at step 4 in 'wait for data'"),
                             testing::Not(HasSubstr("rank 2"))));
}

TEST(WatchdogRanks, AnotherRankHearsItFromRankZero) {
  EXPECT_THAT(report_of_wait(2, /*straggler=*/false), HasSubstr("not arrived: rank 1 on "));
}

TEST(WatchdogRanks, ASlowRankIsReportedAndNothingEnds) {
  EXPECT_THAT(report_of_wait(0, /*straggler=*/true), StartsWith("straggler: rank 1 on "));
}

// Rank 0's watchdog ends while rank 1 waits, which looks like a frozen or lost rank 0.
TEST(WatchdogRanks, ASilentRankZeroIsNamedByTheOthers) {
  Listener listener;
  std::string report;
  run_ranks(2, [&](Communicator& comm) {
    Watchdog watchdog(deadlines(6, 6), comm.rank(),
                      comm.rank() == 1 ? listener.events() : Watchdog::Events{});
    watchdog.connect(comm);
    comm.barrier("connected");
    if (comm.rank() == 0) {
      std::this_thread::sleep_for(std::chrono::seconds(1));  // at least one heartbeat
      return;
    }
    const Watchdog::Wait wait(watchdog, watchdog.begin("pairs"), "pairs");
    report = Listener::text(listener.expired);
  });
  EXPECT_THAT(report, HasSubstr("not arrived: rank 0, silent for "));
}

TEST(WatchdogRanks, DifferentCollectivesAreFoundOutEvenIfNobodyHangs) {
  Listener listener;
  std::string report;
  std::promise<void> over;
  std::shared_future<void> finished = over.get_future();
  run_ranks(2, [&](Communicator& comm) {
    Watchdog watchdog(deadlines(1000, 1000), comm.rank(),
                      comm.rank() == 0 ? listener.events() : Watchdog::Events{});
    watchdog.connect(comm);
    // Same names, but rank 1 passes another size once.
    for (int i = 0; i < 70; ++i) watchdog.begin("bucket", comm.rank() == 1 && i == 20 ? 8 : 4);
    if (comm.rank() == 0) {
      report = Listener::text(listener.expired);
      over.set_value();
    }
    finished.wait_for(kPatience);
  });
  EXPECT_THAT(report, HasSubstr("up to collective 64 rank 1 on "));
}

}  // namespace
}  // namespace pinnerformer
