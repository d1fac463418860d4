#include "comm/nccl/nccl_collectives.h"

#include <algorithm>
#include <functional>

namespace pinnerformer {
namespace {

size_t count(const torch::Tensor& tensor) { return static_cast<size_t>(tensor.numel()); }

ncclDataType_t type(const torch::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
      return ncclFloat32;
    case torch::kBFloat16:
      return ncclBfloat16;
    case torch::kInt32:
      return ncclInt32;
    case torch::kInt64:
      return ncclInt64;
    default:
      TORCH_CHECK(false, "no NCCL type for ", tensor.scalar_type());
  }
}

bool all_equal(const std::vector<int64_t>& counts) {
  return std::ranges::adjacent_find(counts, std::not_equal_to<>()) == counts.end();
}

template <class Use>
void for_each_rank(const torch::Tensor& tensor, const std::vector<int64_t>& counts, Use use) {
  int64_t first = 0;
  for (size_t rank = 0; rank < counts.size(); ++rank) {
    if (counts[rank] > 0) use(static_cast<int>(rank), tensor.narrow(0, first, counts[rank]));
    first += counts[rank];
  }
}

}  // namespace

ncclResult_t NcclCollectives::all_reduce(const torch::Tensor& tensor) const {
  return api_.all_reduce(tensor.data_ptr(), tensor.data_ptr(), count(tensor), type(tensor), ncclSum,
                         comm_, stream_);
}

ncclResult_t NcclCollectives::broadcast(const torch::Tensor& tensor, int root) const {
  return api_.broadcast(tensor.data_ptr(), tensor.data_ptr(), count(tensor), type(tensor), root,
                        comm_, stream_);
}

ncclResult_t NcclCollectives::all_gather(const torch::Tensor& output, const torch::Tensor& input,
                                         const std::vector<int64_t>& counts) const {
  const ncclDataType_t element = type(output);
  if (all_equal(counts))
    return api_.all_gather(input.data_ptr(), output.data_ptr(), count(input), element, comm_,
                           stream_);
  return group([&](const auto& each) {
    for_each_rank(output, counts, [&](int rank, const torch::Tensor& rows) {
      each(api_.broadcast(input.data_ptr(), rows.data_ptr(), count(rows), element, rank, comm_,
                          stream_));
    });
  });
}

ncclResult_t NcclCollectives::reduce_scatter(const torch::Tensor& output,
                                             const torch::Tensor& input,
                                             const std::vector<int64_t>& counts) const {
  const ncclDataType_t element = type(output);
  if (all_equal(counts))
    return api_.reduce_scatter(input.data_ptr(), output.data_ptr(), count(output), element, ncclSum,
                               comm_, stream_);
  return group([&](const auto& each) {
    for_each_rank(input, counts, [&](int rank, const torch::Tensor& rows) {
      each(api_.reduce(rows.data_ptr(), output.data_ptr(), count(rows), element, ncclSum, rank,
                       comm_, stream_));
    });
  });
}

ncclResult_t NcclCollectives::all_to_all(const torch::Tensor& output, const torch::Tensor& input,
                                         const std::vector<int64_t>& receive_counts,
                                         const std::vector<int64_t>& send_counts) const {
  const ncclDataType_t element = type(output);
  return group([&](const auto& each) {
    for_each_rank(input, send_counts, [&](int rank, const torch::Tensor& rows) {
      each(api_.send(rows.data_ptr(), count(rows), element, rank, comm_, stream_));
    });
    for_each_rank(output, receive_counts, [&](int rank, const torch::Tensor& rows) {
      each(api_.receive(rows.data_ptr(), count(rows), element, rank, comm_, stream_));
    });
  });
}

template <class Calls>
ncclResult_t NcclCollectives::group(Calls calls) const {
  ncclResult_t first_failure = api_.group_start();
  if (first_failure != ncclSuccess) return first_failure;
  calls([&](ncclResult_t result) {
    const bool fine = result == ncclSuccess || result == ncclInProgress;
    if (first_failure == ncclSuccess && !fine) first_failure = result;
  });
  const ncclResult_t end = api_.group_end();
  return first_failure == ncclSuccess ? end : first_failure;
}

}  // namespace pinnerformer
