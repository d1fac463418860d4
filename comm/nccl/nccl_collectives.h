// The collectives of a Communicator as NCCL calls on a stream.
#pragma once
#include <nccl.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "comm/nccl/nccl_api.h"

namespace pinnerformer {

// Tensors are contiguous, float32, bfloat16, int32 or int64; rows belong to ranks as in
// Communicator. Returns the first NCCL error; ncclInProgress is no error. Collectives that NCCL
// lacks are grouped calls. A group is always ended, also after an error inside it: otherwise the
// next group would hang.
class NcclCollectives {
 public:
  NcclCollectives(const NcclApi& api, ncclComm_t comm, cudaStream_t stream)
      : api_(api), comm_(comm), stream_(stream) {}

  [[nodiscard]] ncclResult_t all_reduce(const torch::Tensor& tensor) const;
  [[nodiscard]] ncclResult_t broadcast(const torch::Tensor& tensor, int root) const;
  // Equal counts are one call. Where they differ: one broadcast per rank that has rows, which runs
  // as a ring alone.
  [[nodiscard]] ncclResult_t all_gather(const torch::Tensor& output, const torch::Tensor& input,
                                        const std::vector<int64_t>& counts) const;
  // Likewise: where counts differ, one reduction per rank that receives rows.
  [[nodiscard]] ncclResult_t reduce_scatter(const torch::Tensor& output, const torch::Tensor& input,
                                            const std::vector<int64_t>& counts) const;
  [[nodiscard]] ncclResult_t all_to_all(const torch::Tensor& output, const torch::Tensor& input,
                                        const std::vector<int64_t>& receive_counts,
                                        const std::vector<int64_t>& send_counts) const;

 private:
  template <class Calls>
  [[nodiscard]] ncclResult_t group(Calls calls) const;

  const NcclApi& api_;
  ncclComm_t comm_;
  cudaStream_t stream_;
};

}  // namespace pinnerformer
