#include "comm/rows/row_transport.h"

#include <numeric>

#include "comm/ranks.h"

namespace pinnerformer {

int64_t total_of(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::vector<int64_t> to_vector(const torch::Tensor& counts) {
  return {counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + counts.numel()};
}

torch::Tensor empty_rows(int64_t count, const torch::Tensor& like) {
  std::vector<int64_t> shape = like.sizes().vec();
  shape[0] = count;
  return torch::empty(shape, like.options());
}

torch::Tensor as_transportable(const torch::Tensor& rows) {
  return rows.element_size() == 4 ? rows.view(torch::kFloat32) : rows;
}

torch::Tensor gather_on_coordinator(const torch::Tensor& part, const std::vector<int64_t>& parts,
                                    Communicator& comm, const std::string& name) {
  const bool coordinator = comm.rank() == kCoordinator;
  const std::vector<int64_t> none(parts.size(), 0);
  std::vector<int64_t> sent = none;
  sent[kCoordinator] = part.size(0);
  torch::Tensor gathered = empty_rows(coordinator ? total_of(parts) : 0, part);
  comm.all_to_all(as_transportable(gathered), as_transportable(part.contiguous()),
                  coordinator ? parts : none, sent, name)
      ->wait();
  return coordinator ? gathered : torch::Tensor();
}

void scatter_from_coordinator(const torch::Tensor& grouped, const torch::Tensor& part,
                              const std::vector<int64_t>& parts, Communicator& comm,
                              const std::string& name) {
  const bool coordinator = comm.rank() == kCoordinator;
  const std::vector<int64_t> none(parts.size(), 0);
  std::vector<int64_t> received = none;
  received[kCoordinator] = part.size(0);
  const torch::Tensor sent = coordinator ? grouped : empty_rows(0, part);
  comm.all_to_all(as_transportable(part), as_transportable(sent), received,
                  coordinator ? parts : none, name)
      ->wait();
}

void broadcast_from_coordinator(const torch::Tensor& tensor, Communicator& comm,
                                const std::string& name) {
  comm.broadcast(as_transportable(tensor), kCoordinator, name)->wait();
}

}  // namespace pinnerformer
