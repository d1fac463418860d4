// Adds up wall time over many short intervals.
#pragma once
#include <chrono>
#include <utility>

namespace pinnerformer {

class Stopwatch {
 public:
  // Runs `call` and adds the time it took.
  template <class Call>
  decltype(auto) time(Call&& call) {
    struct Scope {
      Stopwatch& watch;
      Clock::time_point begin = Clock::now();
      ~Scope() { watch.spent_ += Clock::now() - begin; }
    };
    const Scope scope{*this};
    return std::forward<Call>(call)();
  }
  // Runs `call` without counting its time as elapsed.
  template <class Call>
  void pause(Call&& call) {
    const Clock::time_point begin = Clock::now();
    std::forward<Call>(call)();
    begin_ += Clock::now() - begin;
  }
  // Milliseconds added up so far.
  [[nodiscard]] double spent_ms() const { return ms(spent_); }
  // Milliseconds since construction or the last reset().
  [[nodiscard]] double elapsed_ms() const { return ms(Clock::now() - begin_); }
  void reset() { *this = Stopwatch(); }

 private:
  using Clock = std::chrono::steady_clock;
  static double ms(Clock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
  }
  Clock::time_point begin_ = Clock::now();
  Clock::duration spent_{};
};

}  // namespace pinnerformer
