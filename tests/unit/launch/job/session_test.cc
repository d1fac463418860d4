// When the ranks of a job can each have a GPU, and that a rank ends though its output is blocked.
#include "launch/job/session.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <thread>

#include "tests/support/full_pipe.h"

namespace pinnerformer {
namespace {

TEST(Session, GpusAreThereWhereEachRankHasItsOwn) {
  EXPECT_EQ(why_gpus_are_missing({"node1, GPU a"}), "");
  EXPECT_EQ(why_gpus_are_missing({"node1, GPU a", "node1, GPU b", "node2, GPU a"}), "");
  EXPECT_EQ(idle_gpus_note({"node1, GPU a", "node1, GPU b"}), "");
}

TEST(Session, NamesTheRanksThatWouldShareAGpu) {
  EXPECT_EQ(why_gpus_are_missing({"node1, GPU a", "node1, GPU b", "node1, GPU a"}),
            "ranks 0 and 2 would share one (node1, GPU a)");
}

TEST(Session, NamesTheRankThatSeesNoGpu) {
  EXPECT_EQ(why_gpus_are_missing({"node1, GPU a", ""}), "rank 1 sees no GPU");
  EXPECT_EQ(why_gpus_are_missing({"", ""}), "rank 0 sees no GPU");
}

TEST(Session, SaysWhyGpusLieIdleWhereThereAreAny) {
  EXPECT_EQ(idle_gpus_note({"node1, GPU a", ""}),
            "training on the CPU, GPUs are not used: every rank would need a GPU of its own, but "
            "rank 1 sees no GPU");
  EXPECT_EQ(idle_gpus_note({"", ""}), "");
}

TEST(Session, AnOldDriverIsNamed) {
  const std::string note = old_driver_note(/*driver=*/12040, /*built_with=*/13000);
  EXPECT_NE(note.find("is for CUDA 12.4, this program needs one for CUDA 13.0"), std::string::npos)
      << note;
  EXPECT_EQ(old_driver_note(13010, 13000), "");
  EXPECT_EQ(old_driver_note(/*driver=*/0, 13000), "") << "no driver at all";
}

// What a frozen launcher does to a rank: a thread blocks in std::cout and holds the stream's lock,
// and standard error has no room either. A collective that misses its deadline still ends the rank.
[[noreturn]] void wait_for_ever_with_blocked_output() {
  const FullPipe pipe;
  for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(pipe.writer(), descriptor);
  CommOptions options;
  options.backend = CommBackend::kThreads;
  options.timeout_seconds = options.first_timeout_seconds = 0.5;
  const Session session(options);
  std::thread([] { std::cout << std::string(100'000, 'x') << std::flush; }).detach();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  Watchdog& watchdog = *session.ranks().watchdog;
  const Watchdog::Wait wait(watchdog, watchdog.begin("pairs"), "pairs");
  for (;;) ::pause();
}

// The exit code of a child, or -1 where it had to be killed.
int exit_code_within(pid_t child, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) ::kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Session, ARankWhoseOutputIsBlockedEndsAtItsDeadline) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) wait_for_ever_with_blocked_output();
  EXPECT_EQ(exit_code_within(child, std::chrono::seconds(20)), 75);
}

}  // namespace
}  // namespace pinnerformer
