// A communicator whose collectives a watchdog monitors.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/watchdog/watchdog.h"

namespace pinnerformer {

// Passes every call on to `inner`, which must outlive this, as must `watchdog`. A CommError of
// `inner` is completed by step, phase, collective and what is known of the other ranks, reported to
// the watchdog, and rethrown if that returns.
class WatchedCommunicator : public Communicator {
 public:
  WatchedCommunicator(Communicator& inner, Watchdog& watchdog)
      : inner_(inner), watchdog_(watchdog) {}

  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }

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
  std::unique_ptr<Work> issue(const torch::Tensor& tensor, uint64_t agreed, const std::string& name,
                              Call call);

  Communicator& inner_;
  Watchdog& watchdog_;
};

}  // namespace pinnerformer
