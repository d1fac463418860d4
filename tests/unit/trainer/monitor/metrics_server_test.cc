// The port for Prometheus: what it answers, and that no client can hold it or the training up.
#include "trainer/monitor/metrics_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>

#include "dataloader/base/errors.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using std::chrono::steady_clock;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class Client {
 public:
  explicit Client(int64_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  void send(const std::string& text) const {
    static_cast<void>(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL));
  }
  // All that comes until the server closes the connection.
  [[nodiscard]] std::string receive() const {
    std::string all;
    std::array<char, 4096> part{};
    pollfd ready{socket_, POLLIN, 0};
    while (::poll(&ready, 1, 10'000) > 0) {
      const ssize_t bytes = ::recv(socket_, part.data(), part.size(), 0);
      if (bytes <= 0) return all;
      all.append(part.data(), static_cast<size_t>(bytes));
    }
    return all + "(the server keeps the connection open)";
  }

 private:
  int socket_;
  bool connected_ = false;
};

std::string ask(const MetricsServer& server, const std::string& request) {
  const Client client(server.port());
  client.send(request);
  return client.receive();
}

const std::string kGet = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

TEST(MetricsServer, AnswersWithTheNewestText) {
  MetricsServer server("127.0.0.1", 0);
  EXPECT_THAT(ask(server, kGet), EndsWith("Content-Length: 0\r\nConnection: close\r\n\r\n"));
  server.set_text("a 1\n");
  const std::string answer = ask(server, kGet);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\na 1\n"));
  server.set_text("a 2\n");
  EXPECT_THAT(ask(server, kGet), EndsWith("\r\n\r\na 2\n"));
}

TEST(MetricsServer, OtherRequestsAreRefused) {
  MetricsServer server("127.0.0.1", 0);
  server.set_text("secret 1\n");
  for (const auto& [request, status] : std::initializer_list<std::pair<const char*, const char*>>{
           {"GET / HTTP/1.1", "404"},
           {"GET /metricsx HTTP/1.1", "404"},
           {"GET /metrics/../etc HTTP/1.1", "404"},
           {"POST /metrics HTTP/1.1", "405"},
           {"GET  HTTP/1.1", "404"},
           {"GET /metrics", "400"},
           {"hello", "400"},
           {"", "400"}}) {
    const std::string answer = ask(server, std::string(request) + "\r\n\r\n");
    EXPECT_THAT(answer, StartsWith(std::string("HTTP/1.1 ") + status)) << request;
    EXPECT_THAT(answer, testing::Not(HasSubstr("secret"))) << request;
  }
  EXPECT_THAT(ask(server, "GET /metrics?x=1 HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST(MetricsServer, ASilentClientIsDroppedAndTheNextOneAnswered) {
  MetricsServer server("127.0.0.1", 0);
  const Client silent(server.port());
  silent.send("GET /metr");
  const auto begin = steady_clock::now();
  EXPECT_THAT(ask(server, kGet), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_LT(seconds_since(begin), 8);
  EXPECT_EQ(silent.receive(), "");
}

TEST(MetricsServer, AnEndlessRequestIsDropped) {
  MetricsServer server("127.0.0.1", 0);
  const Client client(server.port());
  const auto begin = steady_clock::now();
  for (int i = 0; i < 64; ++i) client.send("GET /metrics HTTP/1.1\r\nx: " + std::string(1024, 'x'));
  EXPECT_EQ(client.receive(), "");
  EXPECT_LT(seconds_since(begin), 1.5) << "the size ends it, and not the time limit of two seconds";
  EXPECT_THAT(ask(server, kGet), StartsWith("HTTP/1.1 200 OK"));
}

TEST(MetricsServer, ACallerNeverWaitsForAClientThatDoesNotRead) {
  MetricsServer server("127.0.0.1", 0);
  server.set_text(std::string(64 << 20, 'x'));  // more than the kernel keeps for a connection
  const Client deaf(server.port());
  deaf.send(kGet);
  ::usleep(100'000);
  const auto begin = steady_clock::now();
  server.set_text("a 1\n");
  EXPECT_LT(seconds_since(begin), 0.5);
  EXPECT_THAT(ask(server, kGet), EndsWith("a 1\n"));
}

TEST(MetricsServer, EndsAtOnceAlsoDuringAConnection) {
  const auto begin = steady_clock::now();
  {
    MetricsServer server("127.0.0.1", 0);
    const Client silent(server.port());
    ::usleep(100'000);
  }
  EXPECT_LT(seconds_since(begin), 1.5);
}

TEST(MetricsServer, APortInUseAndAForeignAddressAreErrorsThatSaySo) {
  const MetricsServer first("127.0.0.1", 0);
  const auto error = [](const std::string& address, int64_t port) {
    return message_of<IoError>([&] { MetricsServer server(address, port); });
  };
  EXPECT_EQ(error("127.0.0.1", first.port()), "cannot listen on 127.0.0.1 port " +
                                                  std::to_string(first.port()) +
                                                  ": Address already in use");
  EXPECT_THAT(error("192.0.2.1", 0), HasSubstr("Cannot assign requested address"));
}

TEST(MetricsServer, ListensOnItsAddressAlone) {
  const MetricsServer server("127.0.0.2", 0);
  EXPECT_FALSE(Client(server.port()).connected()) << "127.0.0.1 is another address";
}

std::set<std::string> threads_of_this_process() {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    found.insert(entry.path().filename());
  return found;
}

// Bit n - 1: whether the thread blocks signal n.
uint64_t blocked_signals(const std::string& thread) {
  std::ifstream status("/proc/self/task/" + thread + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("SigBlk:")) return std::stoull(line.substr(7), nullptr, 16);
  throw std::runtime_error("no SigBlk in the status of thread " + thread);
}

// Its thread must not take a signal that is meant for the training's thread.
TEST(MetricsServer, BlocksAllSignalsInItsThreadAlone) {
  const std::set<std::string> before = threads_of_this_process();
  const std::string here = std::to_string(::gettid());
  const uint64_t mask_before = blocked_signals(here);
  const MetricsServer server("127.0.0.1", 0);
  EXPECT_EQ(blocked_signals(here), mask_before);
  std::set<std::string> after = threads_of_this_process();
  std::erase_if(after, [&](const std::string& thread) { return before.contains(thread); });
  ASSERT_EQ(after.size(), 1);
  const uint64_t mask = blocked_signals(*after.begin());
  for (const int number : {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGALRM, SIGCHLD})
    EXPECT_TRUE(mask >> (number - 1) & 1) << ::strsignal(number);
}

TEST(MetricsServer, ItsThreadIsGoneWithIt) {
  const std::set<std::string> before = threads_of_this_process();
  { const MetricsServer server("127.0.0.1", 0); }
  EXPECT_EQ(threads_of_this_process(), before);
}

}  // namespace
}  // namespace pinnerformer
