// A communicator under the eyes of a watchdog, which also counts what it moves.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/watchdog/watchdog.h"

namespace pinnerformer {

// What this rank's collectives had to bring it, for algorithms that move nothing twice:
//   all_reduce 2 (n-1)/n B, all_gather and all_to_all the rows of others, reduce_scatter n-1 times
//   its own rows, broadcast B unless it is the root.
struct Traffic {
  int64_t calls = 0;
  int64_t bytes = 0;
};

// Passes every call on to `inner` (which, like `watchdog`, must outlive it). A CommError of `inner`
// gains step, phase, collective and what is known of the other ranks, goes to the watchdog, and is
// thrown on only if that returns.
class WatchedCommunicator : public Communicator {
 public:
  WatchedCommunicator(Communicator& inner, Watchdog& watchdog)
      : inner_(inner), watchdog_(watchdog) {}

  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  [[nodiscard]] const Traffic& traffic() const { return traffic_; }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, const std::string& name) override;
  std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& counts,
                                   const std::string& name) override;
  std::unique_ptr<Work> reduce_scatter(torch::Tensor output, torch::Tensor input,
                                       const std::vector<int64_t>& counts,
                                       const std::string& name) override;
  std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& recv_counts,
                                   const std::vector<int64_t>& send_counts,
                                   const std::string& name) override;
  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root, const std::string& name) override;
  void barrier(const std::string& name) override;
  void abort() override { inner_.abort(); }

 private:
  template <class Call>
  std::unique_ptr<Work> issue(const torch::Tensor& tensor, uint64_t agreed, int64_t bytes,
                              const std::string& name, Call call);

  Communicator& inner_;
  Watchdog& watchdog_;
  Traffic traffic_;
};

}  // namespace pinnerformer
