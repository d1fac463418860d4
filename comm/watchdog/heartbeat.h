// Signs of life between the watchdogs of a job: a star of UDP datagrams around rank 0, beside MPI
// and NCCL, because those stand still exactly when it is needed. A lost datagram is made up for by
// the next; nothing ever waits for one. Deadlines do not depend on it: it only explains.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/watchdog/rank_status.h"

namespace pinnerformer {

class Heartbeat {
 public:
  using Clock = std::chrono::steady_clock;

  // Every rank must call it: rank 0 tells the others its addresses (IPv4, all interfaces) and the
  // key that keeps strangers' datagrams out. Throws CommError where no socket can be had.
  explicit Heartbeat(Communicator& control);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // Sends this rank's status and takes in what has arrived. Never blocks.
  void beat(const RankStatus& mine);
  // Why this rank waits for a collective: on rank 0 from what it knows of all ranks, elsewhere what
  // rank 0 said last, or that rank 0 itself is silent.
  [[nodiscard]] std::string explain(int64_t number, const std::string& name) const;
  // Rank 0: all ranks as they were last heard of. Elsewhere empty.
  [[nodiscard]] std::vector<ObservedRank> observed() const;

 private:
  struct Address {
    uint32_t host = 0;  // network byte order
    uint16_t port = 0;
  };
  struct Peer {
    RankStatus status;
    std::optional<Clock::time_point> heard;
  };
  void receive();
  void take_status(const void* bytes, const Address& from);
  void take_answer(const void* bytes, const Address& from);
  void send(const void* bytes, size_t count, const Address& to) const;

  int rank_;
  int socket_ = -1;
  uint64_t key_ = 0;
  std::vector<Peer> peers_;          // on rank 0
  std::vector<Address> candidates_;  // of rank 0; one, once it has answered
  bool answered_ = false;
  Clock::time_point last_answer_;
  int64_t answer_number_ = 0;  // the collective that the answer is about
  std::string answer_;
};

}  // namespace pinnerformer
