// UDP heartbeats between the coordinator and the other ranks, independent of MPI and NCCL, which
// block exactly when the heartbeats are needed. They only explain a wait: deadlines do not depend
// on them, so that a lost datagram does no harm.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "comm/watchdog/heartbeat_datagram.h"
#include "comm/watchdog/rank_status.h"

namespace pinnerformer {

// Only datagrams of this job's ranks change anything: each carries a code made with the job's key,
// which is sent over MPI alone, and a sequence number, so that a replayed datagram is dropped.
class Heartbeat {
 public:
  using Clock = std::chrono::steady_clock;

  // Every rank must call it: the coordinator sends its addresses (IPv4, all interfaces) and the key
  // to the other ranks. Throws CommError where no socket can be opened.
  explicit Heartbeat(Communicator& control);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // Sends this rank's status and reads what has arrived, up to a limit. Never blocks.
  void beat(const RankStatus& mine);
  // Reads what has arrived, up to a limit: between two beats of a large job more comes than the
  // socket has room for.
  void receive();
  // Why this rank waits for a collective: on the coordinator from the statuses of all ranks,
  // elsewhere the coordinator's last answer, or that the coordinator itself is silent.
  [[nodiscard]] std::string explain(int64_t number, const std::string& name) const;
  // On the coordinator all ranks as they were last heard of; elsewhere empty.
  [[nodiscard]] std::vector<ObservedRank> observed() const;

 private:
  struct Address {
    uint32_t host = 0;  // network byte order
    uint16_t port = 0;
    bool operator==(const Address&) const = default;
  };
  struct Peer {
    RankStatus status;
    std::optional<Clock::time_point> heard;
    uint64_t sequence = 0;  // of the newest datagram
  };
  [[nodiscard]] HeartbeatContact own_contact() const;
  void filter_by_job() const;
  // explain(), which looks at every rank, once for all ranks that ask between two beats.
  const std::string& explained(int64_t number, const std::string& name);
  void take_status(const StatusDatagram& datagram, const Address& from);
  void take_answer(const AnswerDatagram& datagram, const Address& from);
  template <class Datagram>
  void sign_and_send(Datagram& datagram, const Address& to) const;

  int rank_;
  int socket_ = -1;
  HeartbeatContact contact_;
  std::vector<Peer> peers_;                                           // on the coordinator
  std::map<std::pair<int64_t, std::string>, std::string> explained_;  // likewise, since beat()
  std::vector<Address> candidates_;  // of the coordinator; one, once it has answered from it
  uint64_t sequence_ = 0;            // of the newest status sent
  uint64_t answer_sequence_ = 0;     // of the status that the newest answer repeats; 0: no answer
  Clock::time_point last_answer_;
  int64_t answer_number_ = 0;  // the collective that the answer is about
  std::string answer_;
};

}  // namespace pinnerformer
