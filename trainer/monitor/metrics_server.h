// Answers GET /metrics over HTTP in a thread of its own, for Prometheus.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace pinnerformer {

// One connection at a time: the next ones wait in the kernel's queue. A connection gets two seconds
// for its request and the answer, and a request at most 8 KiB. The thread takes one lock, for as
// long as a pointer is copied, so that set_text() never waits for a client.
class MetricsServer {
 public:
  // `address` in numbers. Port 0: the system chooses. Throws IoError where it cannot listen there.
  MetricsServer(const std::string& address, int64_t port);
  ~MetricsServer();  // ends the connection under way
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  [[nodiscard]] int64_t port() const { return port_; }
  // What is answered from now on.
  void set_text(std::string text);

 private:
  class Descriptor {
   public:
    explicit Descriptor(int value = -1) : value_(value) {}
    Descriptor(Descriptor&& other) noexcept;
    Descriptor& operator=(Descriptor&& other) noexcept;
    ~Descriptor();
    [[nodiscard]] int get() const { return value_; }

   private:
    int value_;
  };

  void run();
  void answer(int connection);

  Descriptor listener_, stop_;  // stop_: readable once the thread is to end
  int64_t port_ = 0;
  std::mutex mutex_;
  std::shared_ptr<const std::string> text_;  // guarded by the mutex
  std::thread thread_;
};

}  // namespace pinnerformer
