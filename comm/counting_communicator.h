// A communicator that passes every call on and counts the bytes that other ranks send to this one.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

class CountingCommunicator : public Communicator {
 public:
  // `inner` must outlive this.
  explicit CountingCommunicator(Communicator& inner) : inner_(inner) {}

  // Collectives so far, barriers included.
  [[nodiscard]] int64_t calls() const { return calls_; }
  // Bytes that these calls delivered to this rank from other ranks, for algorithms that send
  // nothing twice, with W ranks: all_reduce 2 (W - 1) / W of the tensor, as a ring receives;
  // all_gather and all_to_all the rows of the other ranks; reduce_scatter W - 1 times the output;
  // broadcast the tensor, except on the root.
  [[nodiscard]] int64_t bytes_received() const { return bytes_; }

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
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

 private:
  // Adds the bytes of the rows that come from other ranks.
  void count_rows(const torch::Tensor& output, const std::vector<int64_t>& counts);

  Communicator& inner_;
  int64_t calls_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace pinnerformer
