// Nothing hangs in silence: a thread beside the training that knows step, phase and collective of
// this rank, hears from the other ranks' watchdogs, and ends the job when a collective stands
// still.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "comm/communicator.h"
#include "comm/options.h"
#include "comm/watchdog/heartbeat.h"
#include "comm/watchdog/rank_status.h"

namespace pinnerformer {

// Deadlines are each rank's own and need nobody else; what the other ranks do only explains them.
// Only collectives have one: a rank may compute, read or save for as long as it likes, but those
// that wait for it meanwhile may not wait for ever. Until the first step has been taken the
// deadline is comm.first_timeout_seconds, then comm.timeout_seconds. Time in which this very
// process was stopped does not count.
// Every member function may be called from any thread.
class Watchdog {
 public:
  struct Events {
    // The job cannot go on, and why. Called once, on the watchdog's thread; expected to end the
    // process. Of a missed deadline rank 0 speaks first: the others come some seconds later, for
    // the case that it hangs. Also called where a collective fails, on the thread that made it.
    std::function<void(const std::string& report)> expired;
    // On rank 0: a rank is alive but holds the others up. Once per collective and rank.
    std::function<void(const std::string& report)> straggling;
  };

  // `rank` as far as it is known before MPI is up.
  Watchdog(const CommOptions& options, int rank, Events events);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Every rank must call it. From here on the watchdogs of the ranks hear from each other.
  void connect(Communicator& control);

  // What the rank does from now on: "forward", "save".
  void enter(int64_t step, const std::string& phase);

  // The next collective: returns its number. `agreed` are properties equal on all ranks, such as
  // its size; ranks that differ in name or `agreed` are found out.
  int64_t begin(const std::string& name, uint64_t agreed = 0);

  // While it lives, the calling thread waits for that collective, and its deadline runs.
  class [[nodiscard]] Wait {
   public:
    Wait(Watchdog& watchdog, int64_t number, const std::string& name);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    Watchdog& watchdog_;
  };

  // Watches work on a device, for which no thread of the host waits, until it is done or throws.
  void track(int64_t number, const std::string& name, std::shared_ptr<Work> work);

  // A collective has failed: ends the job like a missed deadline. Returns where nobody listens.
  void fail(const std::string& report) const;

  // "step 12, 'forward', collective 95 'pairs'" and, from the other ranks, who is missing in it.
  [[nodiscard]] std::string describe(int64_t number, const std::string& name);
  [[nodiscard]] std::string explain(int64_t number, const std::string& name);

 private:
  using Clock = std::chrono::steady_clock;
  struct Pending {
    int64_t number = 0;
    std::string name;
    Clock::time_point since;
    std::shared_ptr<Work> work;  // nothing where the host waits
  };

  void run();
  void count_sleep(Clock::time_point now);
  // Each gives the report with which the job ends, "" where there is none.
  std::string check();
  std::string check_device_works();
  std::string check_deadline();
  std::string check_other_ranks();
  [[nodiscard]] RankStatus status();
  [[nodiscard]] double deadline_seconds() const;
  [[nodiscard]] double waited_seconds(const Pending& pending) const;

  const CommOptions options_;
  const Events events_;
  int rank_;

  std::mutex mutex_;  // guards all below, but for the heartbeat
  std::condition_variable changed_;
  bool stop_ = false;
  RankStatus status_;
  uint64_t history_ = 0;
  std::optional<int64_t> first_step_;
  bool settled_ = false;  // the first step has been taken
  std::optional<Pending> waiting_;
  std::deque<Pending> tracked_;
  Clock::time_point last_tick_ = Clock::now();
  Clock::duration asleep_{};  // time in which this process was stopped

  std::mutex heartbeat_mutex_;
  std::unique_ptr<Heartbeat> heartbeat_;
  Clock::time_point next_beat_ = Clock::now();
  std::vector<std::pair<int, int64_t>> reported_;  // stragglers by rank and collective

  std::thread thread_;
};

}  // namespace pinnerformer
