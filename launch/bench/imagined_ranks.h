// One rank of a job whose other ranks do not exist: for measurements of what a job of that size
// costs a rank.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// Every other rank sends what this one sends. Collectives end at once: what is measured is the work
// of a rank, not the network.
class ImaginedRanks : public Communicator {
 public:
  explicit ImaginedRanks(int size) : size_(size) {}

  int rank() const override { return 0; }
  int size() const override { return size_; }
  // The sum of this rank's tensor over all ranks.
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
  void barrier(const std::string&) override {}

 private:
  int size_;
};

}  // namespace pinnerformer
