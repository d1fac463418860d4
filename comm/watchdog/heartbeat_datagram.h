// The datagrams of the heartbeat, and what the ranks must know to make and check them. One build
// runs on all ranks, so that structures are sent as they lie in memory.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "comm/watchdog/message_code.h"
#include "comm/watchdog/rank_status.h"

namespace pinnerformer {

// Sent by the coordinator to all ranks over MPI, once.
struct HeartbeatContact {
  MessageKey key{};  // never sent over UDP
  uint64_t job = 0;  // random and not secret: the same in all datagrams of a job
  uint32_t port = 0;
  uint32_t address_count = 0;
  std::array<uint32_t, 16> addresses{};  // IPv4 of the coordinator, network byte order
};

struct DatagramHeader {
  uint64_t job = 0;
  uint64_t sequence = 0;  // of a sender's datagrams, ascending; an answer repeats the status's
  int32_t sender = 0;     // ranks
  int32_t receiver = 0;
};

// From a rank to the coordinator.
struct StatusDatagram {
  DatagramHeader header;
  RankStatus status;
  MessageCode code{};
};

// The coordinator's answer: why the rank waits for collective `number`; 0: it waits for none.
struct AnswerDatagram {
  DatagramHeader header;
  int64_t number = 0;
  std::array<char, 1160> text{};  // the datagram fits into every path MTU in use
  MessageCode code{};
};

// The code covers all bytes before it, which include no padding.
template <class Datagram>
[[nodiscard]] MessageCode code_of(const Datagram& datagram, const MessageKey& key) {
  static_assert(std::is_trivially_copyable_v<Datagram>);
  static_assert(sizeof(Datagram) == offsetof(Datagram, code) + sizeof(MessageCode));
  return message_code(key, std::as_bytes(std::span(&datagram, 1)).first(offsetof(Datagram, code)));
}

template <class Datagram>
[[nodiscard]] bool has_right_code(const Datagram& datagram, const MessageKey& key) {
  return equal_codes(datagram.code, code_of(datagram, key));
}

}  // namespace pinnerformer
