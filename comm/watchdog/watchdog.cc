#include "comm/watchdog/watchdog.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "comm/host_name.h"
#include "comm/ranks.h"

namespace pinnerformer {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr auto kBeat = std::chrono::milliseconds(400);
constexpr auto kStopped = std::chrono::seconds(2);  // a later tick means: the process was stopped

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

std::string text_of(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f s", value);
  return text.data();
}

// One report is enough: the launcher ends the other ranks soon after the first one has ended.
double report_delay_seconds(int rank) {
  return rank == kCoordinator ? 0 : std::min(2 + 0.5 * (rank - 1), 4.0);
}

uint64_t mix(uint64_t a, uint64_t b) {
  a = (a ^ b) * 0x9E3779B97F4A7C15ULL;
  return a ^ (a >> 29);
}

}  // namespace

Watchdog::Watchdog(const CommOptions& options, int rank, Events events)
    : options_(options), events_(std::move(events)), rank_(rank) {
  status_.host.assign(host_name());
  status_.phase.assign("start");
  thread_ = std::thread([this] { run(); });
}

// The deadlines hold until the last query of the device has returned.
Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_devices_ = true;
  }
  changed_.notify_all();
  if (device_thread_.joinable()) device_thread_.join();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::connect(Communicator& control) {
  rank_ = control.rank();
  auto heartbeat = std::make_unique<Heartbeat>(control);
  // Heartbeats are sent and answered before anything else, so that a rank that freezes later has
  // been heard of once.
  for (const char* barrier : {"heartbeats sent", "heartbeats answered"}) {
    heartbeat->beat(status());
    control.barrier(barrier);
  }
  heartbeat->beat(status());
  const std::lock_guard lock(heartbeat_mutex_);
  heartbeat_ = std::move(heartbeat);
}

void Watchdog::enter(int64_t step, const std::string& phase) {
  const std::lock_guard lock(mutex_);
  if (!first_step_) first_step_ = step;
  first_step_done_ = step > *first_step_;
  status_.step = step;
  status_.phase.assign(phase);
}

int64_t Watchdog::begin(const std::string& name, uint64_t agreed) {
  const std::lock_guard lock(mutex_);
  const int64_t number = ++status_.begun;
  status_.begun_name.assign(name);
  history_ = mix(mix(history_, std::hash<std::string>()(name)), agreed);
  for (size_t i = 0; i < RankStatus::kMarkBits.size(); ++i)
    if (number % (int64_t{1} << RankStatus::kMarkBits[i]) == 0)
      status_.marks[i] = {number, history_};
  return number;
}

Watchdog::Wait::Wait(Watchdog& watchdog, int64_t number, const std::string& name)
    : watchdog_(watchdog) {
  const std::lock_guard lock(watchdog_.mutex_);
  watchdog_.waiting_ = {number, name, Clock::now() - watchdog_.asleep_, nullptr};
}

Watchdog::Wait::~Wait() {
  const std::lock_guard lock(watchdog_.mutex_);
  watchdog_.waiting_.reset();
}

void Watchdog::track(int64_t number, const std::string& name, std::shared_ptr<Work> work) {
  const std::lock_guard lock(mutex_);
  tracked_.push_back({number, name, Clock::now() - asleep_, std::move(work)});
  if (!device_thread_.joinable()) device_thread_ = std::thread([this] { query_device(); });
}

void Watchdog::fail(const std::string& report) {
  announce_end();
  if (events_.expired) events_.expired(report);
}

void Watchdog::announce_end() {
  {
    const std::lock_guard lock(mutex_);
    status_.ended = 1;
  }
  const RankStatus mine = status();
  const std::lock_guard lock(heartbeat_mutex_);
  if (heartbeat_) heartbeat_->beat(mine);
}

std::string Watchdog::describe(int64_t number, const std::string& name) {
  const std::lock_guard lock(mutex_);
  return "step " + std::to_string(status_.step) + ", '" + status_.phase.text() + "', collective " +
         std::to_string(number) + " '" + name + "'";
}

std::string Watchdog::explain(int64_t number, const std::string& name) {
  const std::lock_guard lock(heartbeat_mutex_);
  return heartbeat_ ? heartbeat_->explain(number, name)
                    : "the ranks have not exchanged heartbeats yet";
}

double Watchdog::deadline_seconds() const {
  return first_step_done_ ? options_.timeout_seconds
                          : std::max(options_.timeout_seconds, options_.first_timeout_seconds);
}

double Watchdog::waited_seconds(const Pending& pending) const {
  return seconds(Clock::now() - asleep_ - pending.since);
}

RankStatus Watchdog::status() {
  const std::lock_guard lock(mutex_);
  RankStatus status = status_;
  const Pending* pending = waiting_ ? &*waiting_ : (tracked_.empty() ? nullptr : &tracked_.front());
  if (pending != nullptr) {
    status.waiting = pending->number;
    status.waiting_name.assign(pending->name);
    status.waiting_seconds = waited_seconds(*pending);
  }
  return status;
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kTick, [this] { return stop_; })) {
    count_sleep(Clock::now());
    lock.unlock();
    const std::string report = check();
    if (!report.empty()) {
      fail(report);
      return;
    }
    lock.lock();
  }
}

// After a laptop slept or a job was suspended as a whole, deadlines must not seem missed.
void Watchdog::count_sleep(Clock::time_point now) {
  if (now - last_tick_ > kTick + kStopped) asleep_ += now - last_tick_ - kTick;
  last_tick_ = now;
}

std::string Watchdog::check() {
  for (const auto part :
       {&Watchdog::check_other_ranks, &Watchdog::check_device_works, &Watchdog::check_deadline})
    if (std::string report = (this->*part)(); !report.empty()) return report;
  return "";
}

std::string Watchdog::check_other_ranks() {
  if (Clock::now() < next_beat_) {
    const std::lock_guard lock(heartbeat_mutex_);
    if (heartbeat_) heartbeat_->receive();
    return "";
  }
  next_beat_ = Clock::now() + kBeat;
  const RankStatus mine = status();
  std::vector<ObservedRank> ranks;
  {
    const std::lock_guard lock(heartbeat_mutex_);
    if (!heartbeat_) return "";
    heartbeat_->beat(mine);
    ranks = heartbeat_->observed();
  }
  if (ranks.empty()) return "";
  for (const Straggler& straggler : find_stragglers(ranks, options_.straggler_seconds)) {
    const std::pair key(straggler.rank, straggler.waiting_for);
    if (std::ranges::find(reported_, key) != reported_.end()) continue;
    reported_.push_back(key);
    if (events_.straggling) events_.straggling(straggler.text);
  }
  const std::string end = explain_end(ranks);
  return end.empty() ? explain_divergence(ranks) : end;
}

// Note [Query of the device]
// A query of the driver may hang together with the GPU, and so may freeing what belongs to it. Both
// happen on a thread of their own, never on the one that holds the deadlines, and never under a
// lock.
void Watchdog::query_device() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kTick, [this] { return stop_devices_; })) {
    while (!tracked_.empty()) {
      Pending front = tracked_.front();
      querying_since_ = Clock::now();
      lock.unlock();
      std::string fault;
      const bool done = is_done(*front.work, fault);
      lock.lock();
      querying_since_.reset();
      if (!fault.empty()) {
        device_fault_ = Fault{front.number, front.name, fault};
        return;
      }
      if (!done) break;
      tracked_.front().work.reset();
      tracked_.pop_front();
      lock.unlock();
      front.work.reset();  // may free what belongs to the device
      lock.lock();
    }
  }
}

bool Watchdog::is_done(Work& work, std::string& fault) {
  try {
    return work.done();
  } catch (const std::exception& error) {  // CUDA throws other types than CommError
    fault = error.what();
    return false;
  }
}

std::string Watchdog::check_device_works() {
  std::optional<Fault> found;
  {
    const std::lock_guard lock(mutex_);
    found = device_fault_;
  }
  if (!found) return "";
  return describe(found->number, found->name) + ": " + found->text + "; " +
         explain(found->number, found->name);
}

std::string Watchdog::check_deadline() {
  int64_t number = 0;
  std::string name;
  double deadline = 0, waited = 0, querying = 0;
  bool first_step_done = false;
  {
    const std::lock_guard lock(mutex_);
    if (!waiting_ && tracked_.empty()) return "";
    const Pending& oldest = waiting_ ? *waiting_ : tracked_.front();
    number = oldest.number;
    name = oldest.name;
    deadline = deadline_seconds();
    waited = waited_seconds(oldest);
    if (querying_since_) querying = seconds(Clock::now() - *querying_since_);
    first_step_done = first_step_done_;
  }
  if (waited < deadline + report_delay_seconds(rank_)) return "";
  const std::string silent_driver =
      querying < deadline / 2 ? ""
                              : "the GPU's driver has not answered for " + text_of(querying) + "; ";
  return describe(number, name) + ": waited " + text_of(waited) + ", the deadline is " +
         text_of(deadline) + " (" +
         (first_step_done
              ? "comm.timeout_seconds"
              : "comm.first_timeout_seconds, until the end of a training's first step") +
         "); " + silent_driver + explain(number, name);
}

}  // namespace pinnerformer
