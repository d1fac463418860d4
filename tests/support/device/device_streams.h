// Streams and events of a device that is not the CPU, and a check that whatever is read has been
// waited for.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace pinnerformer::device_double {

constexpr int kDevices = 4, kStreamsPerDevice = 8, kStreams = kDevices * kStreamsPerDevice;

// Of each stream, how many accesses to memory are known to be over: a vector clock.
using Clock = std::array<uint64_t, kStreams>;

// Moments in the work of a stream.
struct Mark {
  int stream = -1;  // -1: nothing was recorded
  size_t work = 0;  // what was in its queue
  std::chrono::steady_clock::time_point time;
  Clock seen{};
};

// Streams are numbered through all devices; the first of each device is its default stream. Kernels
// run at once, on the thread that calls them. Work that is queued runs when somebody waits for it,
// and no sooner: whoever forgets to wait reads what was there before. For any thread.
class DeviceStreams {
 public:
  static DeviceStreams& instance();

  // An access by `operation` on a stream. Adds a finding where another stream wrote, or may still
  // read what is now overwritten, and this one has not waited for it.
  void access(const void* allocation, bool write, int stream, const std::string& operation);
  void record(Mark& mark, int stream);
  // From now on the stream has seen what came before the mark. Runs that work.
  void block(const Mark& mark, int stream);
  [[nodiscard]] bool done(const Mark& mark);
  void enqueue(int stream, std::function<void()> work);
  void finish(int stream);
  void finish(const Mark& mark) { finish_up_to(mark.stream, mark.work); }

  // The owner of an allocation will wait for a stream before it uses the memory again.
  void keep_for(const void* allocation, int stream);
  // The allocation is freed. False: its memory must not be used again, because another stream may
  // be behind.
  [[nodiscard]] bool free(const void* allocation);

  [[nodiscard]] std::vector<std::string> take_findings();

 private:
  struct Accesses {
    int writer = -1;
    uint64_t written = 0;
    Clock read{};
    std::array<bool, kStreams> kept{};
  };
  struct Queue {
    std::mutex running;
    std::deque<std::function<void()>> work;
    size_t enqueued = 0, finished = 0;
  };
  void finish_up_to(int stream, size_t work);

  std::mutex mutex_;  // all but Queue::running
  std::array<Clock, kStreams> seen_{};
  std::map<const void*, Accesses> accesses_;
  std::array<Queue, kStreams> queues_;
  std::vector<std::string> findings_;
};

}  // namespace pinnerformer::device_double
