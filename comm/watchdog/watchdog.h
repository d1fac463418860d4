// Ends the job when a collective exceeds its deadline: a thread that knows step, phase and
// collective of this rank and exchanges heartbeats with the watchdogs of the other ranks.
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

// Each rank checks its own deadlines, without the other ranks; heartbeats only explain a wait.
// Only collectives have a deadline: a rank may compute, read or save for any time, but the ranks
// that wait for it meanwhile may not. The deadline is comm.first_timeout_seconds until the first
// step is finished, then comm.timeout_seconds. Time in which this process was stopped does not
// count. A second thread asks the device for the state of its work: where the driver hangs, the
// deadlines hold.
// Every member function may be called from any thread. The thread takes only locks that are held
// for a few instructions: never one that is held during input or output.
class Watchdog {
 public:
  struct Events {
    // Why the job cannot continue. Called once, on the watchdog's thread; must end the process
    // and must not wait for output or for a lock of a stream. After a missed deadline rank 0
    // reports first; the other ranks follow some seconds later, in case it hangs. Also called
    // where a collective fails, on the thread that made the call.
    std::function<void(const std::string& report)> expired;
    // On rank 0: a rank is alive but delays the others. Once per collective and rank, on the
    // watchdog's thread; must not wait for output either.
    std::function<void(const std::string& report)> straggling;
  };

  // `rank`: as the launcher says; connect() asks the communicator.
  Watchdog(const CommOptions& options, int rank, Events events);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Every rank must call it. Starts the heartbeats.
  void connect(Communicator& control);

  // Sets what the rank does from now on: "forward", "save".
  void enter(int64_t step, const std::string& phase);

  // Begins the next collective and returns its number. `agreed` is a property that is equal on all
  // ranks, such as a size; ranks that differ in name or `agreed` are detected.
  int64_t begin(const std::string& name, uint64_t agreed = 0);

  // During its lifetime the calling thread waits for that collective, and the deadline runs.
  class [[nodiscard]] Wait {
   public:
    Wait(Watchdog& watchdog, int64_t number, const std::string& name);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    Watchdog& watchdog_;
  };

  // Monitors work on a device, for which no thread of the host waits, until it is done or throws.
  void track(int64_t number, const std::string& name, std::shared_ptr<Work> work);

  // Reports that a collective has failed, like a missed deadline. Returns where Events::expired is
  // empty.
  void fail(const std::string& report);

  // "step 12, 'forward', collective 95 'pairs'", and which ranks are missing in it.
  [[nodiscard]] std::string describe(int64_t number, const std::string& name);
  [[nodiscard]] std::string explain(int64_t number, const std::string& name);

 private:
  using Clock = std::chrono::steady_clock;
  struct Pending {
    int64_t number = 0;
    std::string name;
    Clock::time_point since;
    std::shared_ptr<Work> work;  // null where the host waits
  };
  struct Fault {
    int64_t number = 0;
    std::string name, text;
  };

  void run();
  void query_device();
  // False where it is not, or has failed: `fault` says why.
  [[nodiscard]] static bool is_done(Work& work, std::string& fault);
  void count_sleep(Clock::time_point now);
  // Each returns the report with which the job ends; "" where the job continues.
  std::string check();
  std::string check_device_works();
  std::string check_deadline();
  std::string check_other_ranks();
  // Tells the coordinator that this rank ends the job.
  void announce_end();
  [[nodiscard]] RankStatus status();
  [[nodiscard]] double deadline_seconds() const;
  [[nodiscard]] double waited_seconds(const Pending& pending) const;

  const CommOptions options_;
  const Events events_;
  std::atomic<int> rank_;  // written by connect() while the watchdog's thread runs

  std::mutex mutex_;  // guards the members up to the heartbeat
  std::condition_variable changed_;
  bool stop_ = false;
  RankStatus status_;
  uint64_t history_ = 0;
  std::optional<int64_t> first_step_;
  bool first_step_done_ = false;
  std::optional<Pending> waiting_;
  std::deque<Pending> tracked_;
  std::optional<Fault> device_fault_;                // of the first work that failed
  std::optional<Clock::time_point> querying_since_;  // the driver is being asked
  bool stop_devices_ = false;
  Clock::time_point last_tick_ = Clock::now();
  Clock::duration asleep_{};  // time in which this process was stopped

  std::mutex heartbeat_mutex_;
  std::unique_ptr<Heartbeat> heartbeat_;
  Clock::time_point next_beat_ = Clock::now();
  std::vector<std::pair<int, int64_t>> reported_;  // stragglers: rank and collective

  std::thread thread_;
  std::thread device_thread_;  // from the first track() on; guarded by mutex_
};

}  // namespace pinnerformer
