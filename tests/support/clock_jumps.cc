// For LD_PRELOAD: the clock that tells the date jumps a day ahead, a day back and home again, every
// 50 ms, as it may when somebody sets it. The monotonic clock goes on.
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdint>

namespace {

constexpr int64_t kNanoseconds = 1'000'000'000, kJumpEvery = 50'000'000, kDay = 86'400;

int true_time(clockid_t clock, timespec* time) {
  return static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
}

int64_t jump_seconds() {
  constexpr std::array<int64_t, 3> kJumps = {0, kDay, -kDay};
  timespec steady{};
  true_time(CLOCK_MONOTONIC, &steady);
  const int64_t now = steady.tv_sec * kNanoseconds + steady.tv_nsec;
  return kJumps.at(static_cast<size_t>(now / kJumpEvery) % kJumps.size());
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) {
  const int answer = true_time(clock, time);
  if (answer == 0 && clock == CLOCK_REALTIME) time->tv_sec += jump_seconds();
  return answer;
}

time_t time(time_t* out) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(timeval* out, void* /*zone*/) {
  constexpr int64_t kPerMicrosecond = 1000;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  *out = {now.tv_sec, now.tv_nsec / kPerMicrosecond};
  return 0;
}

}  // extern "C"
