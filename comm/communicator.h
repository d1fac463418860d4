// The one interface through which ranks exchange tensors. Every rank of a communicator must make
// the same calls in the same order; every call has a name for messages.
// Not thread-safe: one thread of a rank makes all calls.
#pragma once
#include <torch/types.h>

#include <memory>
#include <string>
#include <vector>

#include "comm/errors.h"

namespace pinnerformer {

// A collective under way. The tensors of the call stay untouched until wait() returned.
class Work {
 public:
  virtual ~Work() = default;
  // On CPU tensors blocks; on CUDA tensors makes the current stream wait, not the host.
  virtual void wait() = 0;
  // True when the tensors hold the result. Never blocks. Throws CommError when that will never be.
  // CPU tensors: for the thread that made the call. CUDA tensors: for any thread.
  virtual bool done() = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;

  // Sum over ranks, in place. float32, bfloat16, int32 or int64, contiguous, same shape on all
  // ranks.
  virtual std::unique_ptr<Work> all_reduce(torch::Tensor tensor, const std::string& name) = 0;
  // Counts are rows, one per rank; a call whose tensors have other rows is an error.
  // output [sum of counts, ...] = rows of all ranks in rank order; counts[r] rows come from rank r.
  virtual std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                           const std::vector<int64_t>& counts,
                                           const std::string& name) = 0;
  // output [counts[rank], ...] = this rank's rows of the sum over ranks of input [sum, ...].
  virtual std::unique_ptr<Work> reduce_scatter(torch::Tensor output, torch::Tensor input,
                                               const std::vector<int64_t>& counts,
                                               const std::string& name) = 0;
  // Sends send_counts[r] rows of input to rank r; output receives recv_counts[r] rows from it.
  virtual std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                           const std::vector<int64_t>& recv_counts,
                                           const std::vector<int64_t>& send_counts,
                                           const std::string& name) = 0;
  // Copies root's tensor to all ranks, in place.
  virtual std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root,
                                          const std::string& name) = 0;
  // Returns when every rank has arrived.
  virtual void barrier(const std::string& name) = 0;

  // Gives up whatever is under way on a device, so that nothing on the host waits for it any more.
  // For any thread; the communicator is of no use afterwards. Nothing to do for CPU tensors.
  virtual void abort() {}
};

}  // namespace pinnerformer
