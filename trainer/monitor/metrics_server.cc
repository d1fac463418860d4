#include "trainer/monitor/metrics_server.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(2);  // for a whole connection
constexpr size_t kLongestRequest = 8192;

[[noreturn]] void throw_cannot_listen(const std::string& address, int64_t port,
                                      const std::string& reason) {
  throw IoError("cannot listen on " + address + " port " + std::to_string(port) + ": " + reason);
}

// Waits until `descriptor` is ready for `events`. False where the time is over or `stop` is
// readable.
bool wait_for(int descriptor, int16_t events, int stop, std::optional<Clock::time_point> end) {
  while (true) {
    int milliseconds = -1;
    if (end) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*end - Clock::now()).count();
      milliseconds = static_cast<int>(std::max<int64_t>(0, left));
    }
    std::array<pollfd, 2> both = {pollfd{descriptor, events, 0}, pollfd{stop, POLLIN, 0}};
    const int ready = ::poll(both.data(), both.size(), milliseconds);
    if (ready < 0 && errno == EINTR) continue;
    return ready > 0 && both[1].revents == 0;
  }
}

// Up to the empty line that ends the head of a request; nothing where it does not come in time or
// is too long.
std::optional<std::string> read_request(int connection, int stop, Clock::time_point end) {
  std::string request;
  while (request.size() < kLongestRequest && wait_for(connection, POLLIN, stop, end)) {
    std::array<char, 1024> part{};
    const ssize_t bytes = ::recv(connection, part.data(), part.size(), 0);
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (bytes <= 0) return std::nullopt;
    request.append(part.data(), static_cast<size_t>(bytes));
    if (request.find("\r\n\r\n") != std::string::npos) return request;
  }
  return std::nullopt;
}

void send_all(int connection, std::string_view text, int stop, Clock::time_point end) {
  while (!text.empty() && wait_for(connection, POLLOUT, stop, end)) {
    const ssize_t sent = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (sent < 0) return;
    text.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string response(const std::string& status, const std::string& type, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" +
         body;
}

// The answer depends on the first line of a request alone, so nothing else of it is read.
std::string response_to(const std::string& request, const std::string& metrics) {
  constexpr const char* kPlain = "text/plain; charset=utf-8";
  const std::string line = request.substr(0, request.find("\r\n"));
  const size_t space = line.find(' ');
  const size_t end = line.find_first_of(" ?", space + 1);
  if (space == std::string::npos || end == std::string::npos || line.find(" HTTP/1.") < end)
    return response("400 Bad Request", kPlain, "this is no request of HTTP/1\n");
  if (line.substr(0, space) != "GET")
    return response("405 Method Not Allowed\r\nAllow: GET", kPlain, "use GET\n");
  if (line.substr(space + 1, end - space - 1) != "/metrics")
    return response("404 Not Found", kPlain, "the metrics are at /metrics\n");
  return response("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics);
}

int open_listener(const std::string& address, int64_t port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
      code != 0)
    throw_cannot_listen(address, port, ::gai_strerror(code));
  const int listener = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  constexpr int kWaiting = 8;
  // The port is free again at once after a restart.
  const bool listens =
      listener >= 0 && ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      ::bind(listener, found->ai_addr, found->ai_addrlen) == 0 && ::listen(listener, kWaiting) == 0;
  const int error = errno;
  ::freeaddrinfo(found);
  if (listens) return listener;
  if (listener >= 0) ::close(listener);
  throw_cannot_listen(address, port, std::strerror(error));
}

int64_t port_of(int listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  std::array<char, NI_MAXSERV> port{};
  if (::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      ::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, nullptr, 0, port.data(),
                    port.size(), NI_NUMERICSERV) != 0)
    throw IoError("a socket does not tell its port");
  return std::stoll(port.data());
}

// While it lives, threads that are started block all signals: those of the process are for its main
// thread.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~WithoutSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

MetricsServer::Descriptor::Descriptor(Descriptor&& other) noexcept
    : value_(std::exchange(other.value_, -1)) {}

MetricsServer::Descriptor& MetricsServer::Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(value_, other.value_);
  return *this;
}

MetricsServer::Descriptor::~Descriptor() {
  if (value_ >= 0) ::close(value_);
}

MetricsServer::MetricsServer(const std::string& address, int64_t port)
    : listener_(open_listener(address, port)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      port_(port_of(listener_.get())),
      text_(std::make_shared<const std::string>()) {
  if (stop_.get() < 0) throw_cannot_listen(address, port, std::strerror(errno));
  const WithoutSignals without_signals;
  thread_ = std::thread([this] { run(); });
}

MetricsServer::~MetricsServer() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
}

void MetricsServer::set_text(std::string text) {
  auto next = std::make_shared<const std::string>(std::move(text));
  const std::lock_guard lock(mutex_);
  text_.swap(next);
}

void MetricsServer::run() {
  while (wait_for(listener_.get(), POLLIN, stop_.get(), std::nullopt)) {
    const Descriptor connection(
        ::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection.get() >= 0) {
      answer(connection.get());
    } else {
      // Without descriptors left the connection stays in the queue and would be found again at
      // once.
      constexpr auto kPause = std::chrono::milliseconds(100);
      static_cast<void>(wait_for(stop_.get(), 0, stop_.get(), Clock::now() + kPause));
    }
  }
}

void MetricsServer::answer(int connection) {
  const auto end = Clock::now() + kPatience;
  const auto request = read_request(connection, stop_.get(), end);
  if (!request) return;
  std::shared_ptr<const std::string> text;
  {
    const std::lock_guard lock(mutex_);
    text = text_;
  }
  send_all(connection, response_to(*request, *text), stop_.get(), end);
}

}  // namespace pinnerformer
