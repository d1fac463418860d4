#include "comm/nccl_communicator.h"

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <nccl.h>
#include <sched.h>

#include <chrono>
#include <cstring>
#include <numeric>
#include <utility>

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;

ncclDataType_t nccl_type(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return ncclFloat32;
    case torch::kBFloat16:
      return ncclBfloat16;
    case torch::kInt64:
      return ncclInt64;
    default:
      TORCH_CHECK(false, "no NCCL type for ", type);
  }
}

struct CudaWork : Work {
  explicit CudaWork(at::cuda::CUDAEvent&& done) : done_(std::move(done)) {}
  void wait() override { done_.block(c10::cuda::getCurrentCUDAStream()); }
  at::cuda::CUDAEvent done_;
};

void check_tensor(const torch::Tensor& tensor, const std::string& name) {
  TORCH_CHECK(tensor.is_cuda(), name, ": the NCCL back end moves CUDA tensors, not ",
              tensor.device());
  TORCH_CHECK(tensor.is_contiguous(), name, ": tensor is not contiguous");
}


class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(Communicator& control, double timeout)
      : rank_(control.rank()),
        size_(control.size()),
        timeout_(timeout),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true)) {
    ncclUniqueId id;
    if (rank_ == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    torch::Tensor bytes = torch::empty({NCCL_UNIQUE_ID_BYTES}, torch::kUInt8);
    std::memcpy(bytes.data_ptr(), id.internal, NCCL_UNIQUE_ID_BYTES);
    control.broadcast(bytes, 0, "NCCL id")->wait();
    std::memcpy(id.internal, bytes.data_ptr(), NCCL_UNIQUE_ID_BYTES);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // a blocking communicator cannot be aborted safely while it hangs
    check(ncclCommInitRankConfig(&comm_, size_, id, rank_, &config), "ncclCommInitRankConfig");
  }
  // After a failure the peers may be gone: abort frees without talking to them.
  ~NcclCommunicator() override {
    if (comm_ != nullptr) ncclCommAbort(comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, const std::string& name) override {
    return run(name, {tensor}, [&] {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), count(tensor), type(tensor),
                           ncclSum, comm_, stream_.stream());
    });
  }

  // NCCL has no uneven all-gather: one broadcast per rank, fused into a group.
  std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& counts,
                                   const std::string& name) override {
    return run_group(name, {output, input}, [&](const auto& each) {
      for_each_rank(output, counts, [&](int r, const torch::Tensor& rows) {
        each(ncclBroadcast(input.data_ptr(), rows.data_ptr(), count(rows), type(rows), r, comm_,
                           stream_.stream()));
      });
    });
  }

  std::unique_ptr<Work> reduce_scatter(torch::Tensor output, torch::Tensor input,
                                       const std::vector<int64_t>& counts,
                                       const std::string& name) override {
    return run_group(name, {output, input}, [&](const auto& each) {
      for_each_rank(input, counts, [&](int r, const torch::Tensor& rows) {
        each(ncclReduce(rows.data_ptr(), output.data_ptr(), count(rows), type(rows), ncclSum, r,
                        comm_, stream_.stream()));
      });
    });
  }

  std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& recv_counts,
                                   const std::vector<int64_t>& send_counts,
                                   const std::string& name) override {
    return run_group(name, {output, input}, [&](const auto& each) {
      for_each_rank(input, send_counts, [&](int r, const torch::Tensor& rows) {
        each(ncclSend(rows.data_ptr(), count(rows), type(rows), r, comm_, stream_.stream()));
      });
      for_each_rank(output, recv_counts, [&](int r, const torch::Tensor& rows) {
        each(ncclRecv(rows.data_ptr(), count(rows), type(rows), r, comm_, stream_.stream()));
      });
    });
  }

  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root,
                                  const std::string& name) override {
    return run(name, {tensor}, [&] {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), count(tensor), type(tensor), root,
                           comm_, stream_.stream());
    });
  }

  void barrier(const std::string& name) override {
    torch::Tensor one = torch::ones({1}, torch::TensorOptions(torch::kFloat32).device(torch::kCUDA));
    all_reduce(one, name)->wait();
    c10::cuda::getCurrentCUDAStream().synchronize();
  }

 private:
  static size_t count(const torch::Tensor& tensor) { return static_cast<size_t>(tensor.numel()); }
  static ncclDataType_t type(const torch::Tensor& tensor) {
    return nccl_type(tensor.scalar_type());
  }

  // A non-blocking communicator answers "in progress"; the call has happened once that is over.
  void check(ncclResult_t result, const std::string& what) {
    const auto start = Clock::now();
    while (result == ncclInProgress) {
      const std::chrono::duration<double> waited = Clock::now() - start;
      if (waited.count() > timeout_)
        throw CommError(what + " did not finish within " + std::to_string(timeout_) +
                        " s (comm.timeout_seconds): a rank is lost or frozen");
      sched_yield();
      const ncclResult_t query = ncclCommGetAsyncError(comm_, &result);
      if (query != ncclSuccess) result = query;
    }
    if (result != ncclSuccess)
      throw CommError(what + " failed on rank " + std::to_string(rank_) + ": " +
                      ncclGetErrorString(result) + "; " + ncclGetLastError(comm_));
  }

  template <class Call>
  std::unique_ptr<Work> run(const std::string& name, const std::vector<torch::Tensor>& tensors,
                            Call call) {
    at::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream());
    ready.block(stream_);
    for (const torch::Tensor& tensor : tensors) {
      check_tensor(tensor, name);
      // The allocator must not hand this memory to others before our stream is done with it.
      tensor.record_stream(stream_.unwrap());
    }
    check(call(), name);
    at::cuda::CUDAEvent done;
    done.record(stream_);
    return std::make_unique<CudaWork>(std::move(done));
  }

  template <class Calls>
  std::unique_ptr<Work> run_group(const std::string& name,
                                  const std::vector<torch::Tensor>& tensors, Calls calls) {
    return run(name, tensors, [&] {
      ncclResult_t first_failure = ncclGroupStart();
      calls([&](ncclResult_t result) {
        const bool fine = result == ncclSuccess || result == ncclInProgress;
        if (first_failure == ncclSuccess && !fine) first_failure = result;
      });
      const ncclResult_t end = ncclGroupEnd();
      return first_failure == ncclSuccess ? end : first_failure;
    });
  }

  template <class Use>
  void for_each_rank(const torch::Tensor& tensor, const std::vector<int64_t>& counts, Use use) {
    TORCH_CHECK(std::cmp_equal(counts.size(), size_), "one count per rank, not ", counts.size());
    TORCH_CHECK(std::accumulate(counts.begin(), counts.end(), int64_t{0}) == tensor.size(0),
                "counts do not sum to the ", tensor.size(0), " rows of the tensor");
    int64_t first = 0;
    for (int r = 0; r < size_; ++r) {
      const int64_t rows = counts[static_cast<size_t>(r)];
      if (rows > 0) use(r, tensor.narrow(0, first, rows));
      first += rows;
    }
  }

  int rank_;
  int size_;
  double timeout_;
  c10::cuda::CUDAStream stream_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control,
                                                     double timeout_seconds) {
  return std::make_unique<NcclCommunicator>(control, timeout_seconds);
}

}  // namespace pinnerformer
