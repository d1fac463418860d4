#include "comm/watchdog/heartbeat.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <torch/types.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <random>

namespace pinnerformer {
namespace {

constexpr int64_t kMostAddresses = 16;

// One build runs on all ranks, so that structures travel as they lie in memory.
struct StatusPacket {
  uint64_t key = 0;
  int64_t rank = 0;
  RankStatus status;
};
struct AnswerPacket {
  uint64_t key = 0;
  int64_t number = 0;             // the collective the text is about; 0: none
  std::array<char, 1200> text{};  // below the smallest path MTU in use
};

std::vector<uint32_t> own_addresses() {
  std::vector<uint32_t> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    if ((entry->ifa_flags & IFF_UP) == 0 || std::ssize(found) == kMostAddresses) continue;
    sockaddr_in address{};
    std::memcpy(&address, entry->ifa_addr, sizeof address);
    found.push_back(address.sin_addr.s_addr);
  }
  freeifaddrs(list);
  return found;
}

int open_socket() {
  const int handle = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_ANY);
  if (handle < 0 || ::bind(handle, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
    throw CommError("cannot open a UDP socket for the signs of life between ranks: " +
                    std::string(std::strerror(errno)));
  return handle;
}

uint16_t port_of(int socket) {
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size);
  return ntohs(bound.sin_port);
}

double seconds_since(Heartbeat::Clock::time_point then) {
  return std::chrono::duration<double>(Heartbeat::Clock::now() - then).count();
}

}  // namespace

Heartbeat::Heartbeat(Communicator& control)
    : rank_(control.rank()), socket_(open_socket()), last_answer_(Clock::now()) {
  // key, port, number of addresses, addresses
  torch::Tensor table = torch::zeros({3 + kMostAddresses}, torch::kInt64);
  auto* entry = table.data_ptr<int64_t>();
  if (rank_ == 0) {
    std::random_device random;
    entry[0] = static_cast<int64_t>((uint64_t{random()} << 32) | random());
    entry[1] = port_of(socket_);
    for (const uint32_t address : own_addresses()) entry[3 + entry[2]++] = address;
    peers_.resize(static_cast<size_t>(control.size()));
  }
  control.broadcast(table, 0, "address of the watchdog")->wait();
  key_ = static_cast<uint64_t>(entry[0]);
  for (int64_t i = 0; i < entry[2]; ++i)
    candidates_.push_back({static_cast<uint32_t>(entry[3 + i]), static_cast<uint16_t>(entry[1])});
}

Heartbeat::~Heartbeat() { ::close(socket_); }

void Heartbeat::beat(const RankStatus& mine) {
  receive();
  if (rank_ == 0) {
    peers_[0] = {mine, Clock::now()};
    return;
  }
  StatusPacket packet{key_, rank_, mine};
  for (const Address& address : candidates_) send(&packet, sizeof packet, address);
}

// Whatever cannot be sent now is made up for by the next one.
void Heartbeat::send(const void* bytes, size_t count, const Address& to) const {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = to.host;
  address.sin_port = htons(to.port);
  ::sendto(socket_, bytes, count, MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
           sizeof address);
}

void Heartbeat::receive() {
  std::array<char, 2048> bytes{};
  for (;;) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const ssize_t count = ::recvfrom(socket_, bytes.data(), bytes.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &size);
    if (count < 0 && errno == ECONNREFUSED) continue;  // an earlier datagram found nobody
    if (count < 0) return;
    const Address sender{from.sin_addr.s_addr, ntohs(from.sin_port)};
    if (rank_ == 0 && count == sizeof(StatusPacket)) take_status(bytes.data(), sender);
    if (rank_ != 0 && count == sizeof(AnswerPacket)) take_answer(bytes.data(), sender);
  }
}

void Heartbeat::take_status(const void* bytes, const Address& from) {
  StatusPacket packet;
  std::memcpy(&packet, bytes, sizeof packet);
  if (packet.key != key_ || packet.rank <= 0 || packet.rank >= std::ssize(peers_)) return;
  peers_[static_cast<size_t>(packet.rank)] = {packet.status, Clock::now()};
  AnswerPacket answer;
  answer.key = key_;
  answer.number = packet.status.waiting;
  if (answer.number > 0)
    explain(answer.number, packet.status.waiting_name.text())
        .copy(answer.text.data(), answer.text.size() - 1);
  send(&answer, sizeof answer, from);
}

void Heartbeat::take_answer(const void* bytes, const Address& from) {
  AnswerPacket packet;
  std::memcpy(&packet, bytes, sizeof packet);
  if (packet.key != key_) return;
  candidates_ = {from};
  answered_ = true;
  last_answer_ = Clock::now();
  answer_number_ = packet.number;
  answer_ = packet.text.data();
}

std::vector<ObservedRank> Heartbeat::observed() const {
  std::vector<ObservedRank> ranks;
  for (const Peer& peer : peers_)
    ranks.push_back(
        {peer.status, peer.heard ? seconds_since(*peer.heard) : 0, peer.heard.has_value()});
  return ranks;
}

std::string Heartbeat::explain(int64_t number, const std::string& name) const {
  if (rank_ == 0) return explain_wait(observed(), number, name);
  const double silent = seconds_since(last_answer_);
  if (!answered_)
    return "which ranks have not arrived is unknown: rank 0 was never reached over UDP (is it "
           "blocked between the hosts?)";
  if (silent > kSilentSeconds)
    return "not arrived: rank 0, silent for " + std::to_string(std::lround(silent)) +
           " s: frozen, ended, or its host is lost";
  return answer_number_ == number ? answer_ : "which ranks have not arrived is not known yet";
}

}  // namespace pinnerformer
