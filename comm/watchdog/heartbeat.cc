#include "comm/watchdog/heartbeat.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <torch/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "comm/ranks.h"

namespace pinnerformer {
namespace {

// A flood of datagrams must not keep the watchdog from its deadlines. Far more than the ranks of a
// job send between two beats.
constexpr int kMostDatagramsPerBeat = 10'000;

void add_own_addresses(HeartbeatContact& contact) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    if ((entry->ifa_flags & IFF_UP) == 0 || contact.address_count == contact.addresses.size())
      continue;
    sockaddr_in address{};
    std::memcpy(&address, entry->ifa_addr, sizeof address);
    contact.addresses[contact.address_count++] = address.sin_addr.s_addr;
  }
  freeifaddrs(list);
}

int open_socket() {
  const int handle = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_ANY);
  if (handle < 0 || ::bind(handle, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) {
    const int error = errno;
    if (handle >= 0) ::close(handle);
    throw CommError("cannot open a UDP socket for the heartbeats between ranks: " +
                    std::string(std::strerror(error)));
  }
  // The default has room for about 280 datagrams, fewer than large jobs have ranks. The kernel
  // gives as much of it as net.core.rmem_max allows, or all of it where this process may ask for
  // that.
  constexpr int kBytes = 8 << 20;
  if (::setsockopt(handle, SOL_SOCKET, SO_RCVBUFFORCE, &kBytes, sizeof kBytes) != 0)
    ::setsockopt(handle, SOL_SOCKET, SO_RCVBUF, &kBytes, sizeof kBytes);
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

HeartbeatContact broadcast(Communicator& control, const HeartbeatContact& contact) {
  torch::Tensor bytes = torch::empty({sizeof contact}, torch::kUInt8);
  std::memcpy(bytes.data_ptr(), &contact, sizeof contact);
  control.broadcast(bytes, kCoordinator, "contact of the watchdog")->wait();
  HeartbeatContact received;
  std::memcpy(&received, bytes.const_data_ptr(), sizeof received);
  return received;
}

// The datagram in a buffer, where it has its size.
template <class Datagram>
std::optional<Datagram> datagram_in(const void* bytes, ssize_t count) {
  if (count != static_cast<ssize_t>(sizeof(Datagram))) return std::nullopt;
  Datagram datagram;
  std::memcpy(&datagram, bytes, sizeof datagram);
  return datagram;
}

}  // namespace

Heartbeat::Heartbeat(Communicator& control)
    : rank_(control.rank()), socket_(open_socket()), last_answer_(Clock::now()) {
  const bool coordinator = rank_ == kCoordinator;
  contact_ = broadcast(control, coordinator ? own_contact() : HeartbeatContact{});
  filter_by_job();
  if (coordinator) peers_.resize(static_cast<size_t>(control.size()));
  for (uint32_t i = 0; i < contact_.address_count; ++i)
    candidates_.push_back({contact_.addresses[i], static_cast<uint16_t>(contact_.port)});
}

Heartbeat::~Heartbeat() { ::close(socket_); }

HeartbeatContact Heartbeat::own_contact() const {
  HeartbeatContact contact;
  contact.key = random_message_key();
  const MessageKey random = random_message_key();
  std::memcpy(&contact.job, random.data(), sizeof contact.job);
  contact.port = port_of(socket_);
  add_own_addresses(contact);
  return contact;
}

// The kernel drops datagrams without the job's number before they fill the socket's buffer. Where
// it takes no filter, receive() still drops them.
void Heartbeat::filter_by_job() const {
  constexpr uint32_t kPayload = 8;  // behind the UDP header
  std::array<uint32_t, 2> words{};
  std::memcpy(words.data(), &contact_.job, sizeof words);
  std::array<sock_filter, 6> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kPayload),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(words[0]), 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kPayload + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(words[1]), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
      BPF_STMT(BPF_RET | BPF_K, 0),
  }};
  const sock_fprog filter{program.size(), program.data()};
  ::setsockopt(socket_, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

void Heartbeat::beat(const RankStatus& mine) {
  receive();
  explained_.clear();
  if (rank_ == kCoordinator) {
    peers_[kCoordinator] = {mine, Clock::now(), 0};
    return;
  }
  StatusDatagram datagram;
  datagram.header = {contact_.job, ++sequence_, rank_, kCoordinator};
  datagram.status = mine;
  for (const Address& address : candidates_) sign_and_send(datagram, address);
}

// What cannot be sent now is dropped: the next beat replaces it.
template <class Datagram>
void Heartbeat::sign_and_send(Datagram& datagram, const Address& to) const {
  datagram.code = code_of(datagram, contact_.key);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = to.host;
  address.sin_port = htons(to.port);
  ::sendto(socket_, &datagram, sizeof datagram, MSG_NOSIGNAL,
           reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

void Heartbeat::receive() {
  std::array<char, 2048> bytes{};
  for (int i = 0; i < kMostDatagramsPerBeat; ++i) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const ssize_t count = ::recvfrom(socket_, bytes.data(), bytes.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &size);
    if (count < 0 && errno == ECONNREFUSED) continue;  // an earlier datagram had no receiver
    if (count < 0) return;
    const Address sender{from.sin_addr.s_addr, ntohs(from.sin_port)};
    if (rank_ == kCoordinator) {
      if (const auto datagram = datagram_in<StatusDatagram>(bytes.data(), count))
        take_status(*datagram, sender);
    } else if (const auto datagram = datagram_in<AnswerDatagram>(bytes.data(), count)) {
      take_answer(*datagram, sender);
    }
  }
}

void Heartbeat::take_status(const StatusDatagram& datagram, const Address& from) {
  const auto& [job, sequence, sender, receiver] = datagram.header;
  if (job != contact_.job || receiver != rank_ || sender <= 0 || sender >= std::ssize(peers_))
    return;
  Peer& peer = peers_[static_cast<size_t>(sender)];
  if (sequence <= peer.sequence || !has_right_code(datagram, contact_.key)) return;
  peer = {datagram.status, Clock::now(), sequence};
  AnswerDatagram answer;
  answer.header = {contact_.job, sequence, rank_, sender};
  answer.number = datagram.status.waiting;
  if (answer.number > 0)
    explained(answer.number, datagram.status.waiting_name.text())
        .copy(answer.text.data(), answer.text.size());
  sign_and_send(answer, from);
}

void Heartbeat::take_answer(const AnswerDatagram& datagram, const Address& from) {
  const auto& [job, sequence, sender, receiver] = datagram.header;
  if (job != contact_.job || sender != kCoordinator || receiver != rank_) return;
  if (sequence <= answer_sequence_ || !has_right_code(datagram, contact_.key)) return;
  // A datagram may have been forwarded by another sender: only the coordinator's addresses count.
  if (std::ranges::find(candidates_, from) != candidates_.end()) candidates_ = {from};
  answer_sequence_ = sequence;
  last_answer_ = Clock::now();
  answer_number_ = datagram.number;
  answer_ = bounded_text(datagram.text);
}

std::vector<ObservedRank> Heartbeat::observed() const {
  std::vector<ObservedRank> ranks;
  for (const Peer& peer : peers_)
    ranks.push_back(
        {peer.status, peer.heard ? seconds_since(*peer.heard) : 0, peer.heard.has_value()});
  return ranks;
}

const std::string& Heartbeat::explained(int64_t number, const std::string& name) {
  const auto [entry, is_new] = explained_.try_emplace({number, name});
  if (is_new) entry->second = explain(number, name);
  return entry->second;
}

std::string Heartbeat::explain(int64_t number, const std::string& name) const {
  if (rank_ == kCoordinator) return explain_wait(observed(), number, name);
  const double silent = seconds_since(last_answer_);
  if (answer_sequence_ == 0)
    return "which ranks have not arrived is unknown: rank 0 was never reached over UDP (is it "
           "blocked between the hosts?)";
  if (silent > kSilentSeconds)
    return "not arrived: rank 0, silent for " + std::to_string(std::lround(silent)) +
           " s: frozen, ended, or its host is lost";
  return answer_number_ == number ? answer_ : "which ranks have not arrived is not known yet";
}

}  // namespace pinnerformer
