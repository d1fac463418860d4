// What may change a rank's view of the others: the datagrams of the job's ranks, and no forged,
// replayed, redirected or flooding ones. The test is the network between two ranks.
#include "comm/watchdog/heartbeat.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <torch/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "comm/counting_communicator.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;
constexpr int kPatienceMs = 20'000;

// A UDP socket on the loopback device.
class UdpSocket {
 public:
  UdpSocket() : handle_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in any = loopback(0);
    socklen_t size = sizeof any;
    ::bind(handle_, reinterpret_cast<const sockaddr*>(&any), size);
    ::getsockname(handle_, reinterpret_cast<sockaddr*>(&any), &size);
    port_ = ntohs(any.sin_port);
  }
  ~UdpSocket() { ::close(handle_); }
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  [[nodiscard]] uint16_t port() const { return port_; }
  // Of the newest received datagram.
  [[nodiscard]] uint16_t sender() const { return sender_; }

  void send(const void* bytes, size_t count, uint32_t to) const {
    const sockaddr_in address = loopback(static_cast<uint16_t>(to));
    ::sendto(handle_, bytes, count, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&address),
             sizeof address);
  }

  // The next datagram of this type; others are dropped.
  template <class Datagram>
  [[nodiscard]] Datagram receive() {
    Datagram datagram;
    for (pollfd arrived{handle_, POLLIN, 0}; ::poll(&arrived, 1, kPatienceMs) == 1;) {
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const ssize_t count = ::recvfrom(handle_, &datagram, sizeof datagram, MSG_TRUNC,
                                       reinterpret_cast<sockaddr*>(&from), &size);
      sender_ = ntohs(from.sin_port);
      if (count == sizeof datagram) return datagram;
    }
    ADD_FAILURE() << "no datagram of " << sizeof datagram << " bytes arrived";
    return {};
  }
  [[nodiscard]] bool is_empty() const {
    pollfd arrived{handle_, POLLIN, 0};
    return ::poll(&arrived, 1, 100) == 0;
  }

 private:
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }

  int handle_;
  uint16_t port_ = 0, sender_ = 0;
};

// Reads the contact that the coordinator sends and gives the other ranks another port in it.
class RedirectingCommunicator : public CountingCommunicator {
 public:
  RedirectingCommunicator(Communicator& inner, uint16_t port, HeartbeatContact& seen)
      : CountingCommunicator(inner), port_(port), seen_(seen) {}

  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root,
                                  const std::string& name) override {
    auto work = CountingCommunicator::broadcast(tensor, root, name);
    work->wait();
    HeartbeatContact contact;
    EXPECT_EQ(tensor.nbytes(), sizeof contact);
    std::memcpy(&contact, tensor.data_ptr(), sizeof contact);
    if (rank() == root) {
      seen_ = contact;
    } else {
      contact.port = port_;
      contact.address_count = 1;
      contact.addresses[0] = htonl(INADDR_LOOPBACK);
      std::memcpy(tensor.data_ptr(), &contact, sizeof contact);
    }
    return work;
  }

 private:
  uint16_t port_;
  HeartbeatContact& seen_;
};

RankStatus at_step(int64_t step) {
  RankStatus status;
  status.step = step;
  return status;
}

RankStatus waiting_for(int64_t number) {
  RankStatus status = at_step(number);
  status.begun = status.waiting = number;
  status.begun_name.assign("pairs");
  status.waiting_name.assign("pairs");
  return status;
}

class HeartbeatBetweenRanks : public testing::Test {
 protected:
  HeartbeatBetweenRanks() {
    run_ranks(2, [&](Communicator& comm) {
      RedirectingCommunicator redirecting(comm, network_.port(), contact_);
      auto heartbeat = std::make_unique<Heartbeat>(redirecting);
      (comm.rank() == 0 ? coordinator_ : rank_) = std::move(heartbeat);
    });
    coordinator_->beat(at_step(0));
  }

  // A datagram on its way from the rank to the coordinator.
  StatusDatagram status_of(const RankStatus& status) {
    rank_->beat(status);
    return network_.receive<StatusDatagram>();
  }
  template <class Datagram>
  void deliver_to_coordinator(const Datagram& datagram) {
    network_.send(&datagram, sizeof datagram, contact_.port);
    coordinator_->beat(at_step(0));
  }
  template <class Datagram>
  void deliver_to_rank(const Datagram& datagram, const UdpSocket& from) {
    from.send(&datagram, sizeof datagram, rank_port_);
    rank_->beat(at_step(0));
    static_cast<void>(network_.receive<StatusDatagram>());
  }
  // The coordinator's answer to a status, on its way back.
  AnswerDatagram answer_to(const RankStatus& status) {
    const StatusDatagram datagram = status_of(status);
    rank_port_ = network_.sender();
    deliver_to_coordinator(datagram);
    return network_.receive<AnswerDatagram>();
  }
  [[nodiscard]] ObservedRank observed() const { return coordinator_->observed().at(1); }

  UdpSocket network_;
  HeartbeatContact contact_;
  std::unique_ptr<Heartbeat> coordinator_, rank_;
  uint16_t rank_port_ = 0;
};

TEST_F(HeartbeatBetweenRanks, AStatusArrivesAndIsAnswered) {
  EXPECT_FALSE(observed().heard);
  const AnswerDatagram answer = answer_to(waiting_for(3));
  EXPECT_TRUE(observed().heard);
  EXPECT_EQ(observed().status.step, 3);
  EXPECT_EQ(answer.number, 3);
  EXPECT_THAT(rank_->explain(3, "pairs"), HasSubstr("rank 0 was never reached over UDP"));
  deliver_to_rank(answer, network_);
  EXPECT_THAT(rank_->explain(3, "pairs"), HasSubstr("not arrived: rank 0 alive, at step 0"));
}

TEST_F(HeartbeatBetweenRanks, NoDatagramHoldsAPartOfTheKey) {
  const AnswerDatagram answer = answer_to(waiting_for(3));
  const StatusDatagram status = status_of(waiting_for(4));
  const auto holds_key = [&](const auto& datagram) {
    const auto bytes = std::as_bytes(std::span(&datagram, 1));
    const auto key = std::as_bytes(std::span(contact_.key));
    for (size_t first = 0; first + 8 <= key.size(); ++first)
      if (!std::ranges::search(bytes, key.subspan(first, 8)).empty()) return true;
    return false;
  };
  EXPECT_FALSE(holds_key(status));
  EXPECT_FALSE(holds_key(answer));
}

TEST_F(HeartbeatBetweenRanks, AChangedByteMakesAStatusWorthless) {
  deliver_to_coordinator(status_of(at_step(1)));
  ASSERT_EQ(observed().status.step, 1);
  const StatusDatagram datagram = status_of(at_step(2));
  for (size_t i = 0; i < sizeof datagram; ++i) {
    StatusDatagram forged = datagram;
    std::as_writable_bytes(std::span(&forged, 1))[i] ^= std::byte{0x40};
    deliver_to_coordinator(forged);
    ASSERT_EQ(observed().status.step, 1) << "byte " << i;
  }
  deliver_to_coordinator(datagram);
  EXPECT_EQ(observed().status.step, 2);
}

TEST_F(HeartbeatBetweenRanks, OtherKeysOtherSizesAndOtherRanksAreRefused) {
  StatusDatagram forged = status_of(at_step(1));
  forged.code = code_of(forged, MessageKey{});
  deliver_to_coordinator(forged);
  for (const auto& [sender, receiver] : {std::pair{0, 0}, {2, 0}, {-1, 0}, {1, 1}}) {
    forged.header.sender = sender;
    forged.header.receiver = receiver;
    forged.code = code_of(forged, contact_.key);
    deliver_to_coordinator(forged);
  }
  const StatusDatagram right = status_of(at_step(1));
  network_.send(&right, sizeof right - 1, contact_.port);
  network_.send(&right, 0, contact_.port);
  struct {
    StatusDatagram datagram;
    char more = 0;
  } const longer{right};
  deliver_to_coordinator(longer);
  EXPECT_FALSE(observed().heard);
}

TEST_F(HeartbeatBetweenRanks, AReplayedStatusChangesNothing) {
  const StatusDatagram first = status_of(at_step(1)), second = status_of(at_step(2));
  deliver_to_coordinator(first);
  deliver_to_coordinator(second);
  ASSERT_EQ(observed().status.step, 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  deliver_to_coordinator(first);
  deliver_to_coordinator(second);
  EXPECT_EQ(observed().status.step, 2);
  EXPECT_GE(observed().silent_seconds, 0.3) << "a replay counts as a heartbeat";
}

TEST_F(HeartbeatBetweenRanks, AForgedOrReplayedAnswerChangesNothing) {
  const AnswerDatagram old = answer_to(waiting_for(3)), now = answer_to(waiting_for(4));
  AnswerDatagram forged = now;
  forged.text = {'l', 'i', 'e'};
  deliver_to_rank(forged, network_);
  EXPECT_THAT(rank_->explain(4, "pairs"), HasSubstr("never reached"));
  deliver_to_rank(now, network_);
  deliver_to_rank(old, network_);
  EXPECT_THAT(rank_->explain(4, "pairs"), HasSubstr("rank 0 alive"));
  EXPECT_THAT(rank_->explain(3, "pairs"), HasSubstr("not known yet"));
  AnswerDatagram for_other_rank = now;
  for_other_rank.header = {contact_.job, 100, 0, 2};
  for_other_rank.number = 5;
  for_other_rank.code = code_of(for_other_rank, contact_.key);
  deliver_to_rank(for_other_rank, network_);
  EXPECT_THAT(rank_->explain(5, "pairs"), HasSubstr("not known yet"));
}

TEST_F(HeartbeatBetweenRanks, AnAnswerFromElsewhereRedirectsNothing) {
  const UdpSocket elsewhere;
  deliver_to_rank(answer_to(waiting_for(3)), elsewhere);
  static_cast<void>(status_of(at_step(4)));  // still arrives at the coordinator's address
  EXPECT_TRUE(elsewhere.is_empty());
}

TEST_F(HeartbeatBetweenRanks, AnUnterminatedTextEndsWithItsField) {
  AnswerDatagram answer = answer_to(waiting_for(3));
  answer.text.fill('x');
  answer.code = code_of(answer, contact_.key);
  deliver_to_rank(answer, network_);
  EXPECT_EQ(rank_->explain(3, "pairs"), std::string(answer.text.size(), 'x'));
  StatusDatagram status = status_of(at_step(5));
  status.status.host.bytes.fill('y');
  status.code = code_of(status, contact_.key);
  deliver_to_coordinator(status);
  EXPECT_EQ(observed().status.host.text(), std::string(sizeof(ShortText), 'y'));
}

// Sends without a pause until it ends.
class Flood {
 public:
  Flood(const StatusDatagram& datagram, uint32_t port)
      : thread_([this, datagram, port] {
          for (const UdpSocket socket; !stop_;) {
            socket.send(&datagram, sizeof datagram, port);
            ++sent_;
          }
        }) {}
  ~Flood() {
    stop_ = true;
    thread_.join();
    EXPECT_GT(sent_, 1000) << "no flood";
  }
  Flood(const Flood&) = delete;
  Flood& operator=(const Flood&) = delete;

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<int64_t> sent_ = 0;
  std::thread thread_;
};

TEST_F(HeartbeatBetweenRanks, AFloodOfStrangersHidesNoStatus) {
  StatusDatagram stranger;
  stranger.header = {contact_.job + 1, 1'000'000, 1, 0};
  const Flood flood(stranger, contact_.port);
  for (int64_t step = 1; step <= 20; ++step) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // would fill the socket's buffer
    deliver_to_coordinator(status_of(at_step(step)));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    coordinator_->beat(at_step(0));
    EXPECT_EQ(observed().status.step, step);
  }
}

// Somebody who reads the network knows the number of the job. What they send is dropped, and the
// time of a beat stays bounded.
TEST_F(HeartbeatBetweenRanks, AFloodOfForgedDatagramsNeitherCountsNorBlocks) {
  StatusDatagram forged = status_of(at_step(7));
  forged.header.sequence += 100;
  forged.status.step = 666;
  const Flood flood(forged, contact_.port);
  for (const auto end = Clock::now() + std::chrono::seconds(1); Clock::now() < end;) {
    const auto begin = Clock::now();
    coordinator_->beat(at_step(0));
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(2));
    EXPECT_FALSE(observed().heard);
  }
}

}  // namespace
}  // namespace pinnerformer
