#include "comm/counting_communicator.h"

#include <utility>

namespace pinnerformer {

void CountingCommunicator::count_rows(const torch::Tensor& output,
                                      const std::vector<int64_t>& counts) {
  if (output.size(0) == 0) return;
  const int64_t row_bytes = static_cast<int64_t>(output.nbytes()) / output.size(0);
  for (int r = 0; r < size(); ++r)
    if (r != rank()) bytes_ += counts[static_cast<size_t>(r)] * row_bytes;
}

std::unique_ptr<Work> CountingCommunicator::all_reduce(torch::Tensor tensor,
                                                       const std::string& name) {
  ++calls_;
  bytes_ += 2 * static_cast<int64_t>(tensor.nbytes()) * (size() - 1) / size();
  return inner_.all_reduce(std::move(tensor), name);
}

std::unique_ptr<Work> CountingCommunicator::all_gather(torch::Tensor output, torch::Tensor input,
                                                       const std::vector<int64_t>& counts,
                                                       const std::string& name) {
  ++calls_;
  auto work = inner_.all_gather(output, std::move(input), counts, name);
  count_rows(output, counts);  // the call before has refused counts that do not fit
  return work;
}

std::unique_ptr<Work> CountingCommunicator::reduce_scatter(torch::Tensor output,
                                                           torch::Tensor input,
                                                           const std::vector<int64_t>& counts,
                                                           const std::string& name) {
  ++calls_;
  bytes_ += static_cast<int64_t>(output.nbytes()) * (size() - 1);
  return inner_.reduce_scatter(std::move(output), std::move(input), counts, name);
}

std::unique_ptr<Work> CountingCommunicator::all_to_all(torch::Tensor output, torch::Tensor input,
                                                       const std::vector<int64_t>& recv_counts,
                                                       const std::vector<int64_t>& send_counts,
                                                       const std::string& name) {
  ++calls_;
  auto work = inner_.all_to_all(output, std::move(input), recv_counts, send_counts, name);
  count_rows(output, recv_counts);
  return work;
}

std::unique_ptr<Work> CountingCommunicator::broadcast(torch::Tensor tensor, int root,
                                                      const std::string& name) {
  ++calls_;
  if (rank() != root) bytes_ += static_cast<int64_t>(tensor.nbytes());
  return inner_.broadcast(std::move(tensor), root, name);
}

void CountingCommunicator::barrier(const std::string& name) {
  ++calls_;
  inner_.barrier(name);
}

}  // namespace pinnerformer
