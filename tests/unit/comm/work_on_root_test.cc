// The other ranks wait for long work of rank 0 without reaching their deadline.
#include "comm/work_on_root.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "comm/thread_communicator.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

constexpr double kDeadlineSeconds = 2;

TEST(WorkOnRoot, MayTakeLongerThanADeadline) {
  std::atomic<int> begun = 0, done = 0;
  run_ranks(
      3,
      [&](Communicator& comm) {
        work_on_root(comm, "work", [&](const auto& goes_on) {
          ++begun;
          for (int i = 0; i < 60; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
            goes_on();
          }
          done = 1;
        });
        EXPECT_EQ(done, 1) << "rank " << comm.rank() << " did not wait";
      },
      kDeadlineSeconds);
  EXPECT_EQ(begun, 1) << "rank 0 alone works";
}

TEST(WorkOnRoot, ThrowsWhatTheWorkThrows) {
  const auto comm = make_single_communicator();
  EXPECT_THROW(work_on_root(*comm, "work", [](const auto&) { throw std::runtime_error("no"); }),
               std::runtime_error);
}

}  // namespace
}  // namespace pinnerformer
