#include "comm/nccl/nccl_communicator.h"

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <nccl.h>

#include <cstring>
#include <utility>

#include "comm/nccl/nccl_collectives.h"
#include "comm/nccl/nccl_handle.h"
#include "comm/ranks.h"
#include "comm/row_checks.h"

namespace pinnerformer {
namespace {

class CudaWork : public Work {
 public:
  CudaWork(at::cuda::CUDAEvent&& done, std::weak_ptr<NcclHandle> handle)
      : done_(std::move(done)), handle_(std::move(handle)) {}
  void wait() override { done_.block(c10::cuda::getCurrentCUDAStream()); }
  bool done() override {
    if (const auto handle = handle_.lock()) handle->check_async();
    return done_.query();
  }

 private:
  at::cuda::CUDAEvent done_;
  std::weak_ptr<NcclHandle>
      handle_;  // the communicator may be destroyed before its last work is checked
};

void check_tensor(const torch::Tensor& tensor, const std::string& name) {
  TORCH_CHECK(tensor.is_cuda(), name, ": the NCCL back end moves CUDA tensors, not ",
              tensor.device());
  TORCH_CHECK(tensor.is_contiguous(), name, ": tensor is not contiguous");
}

ncclUniqueId shared_id(Communicator& control, const NcclApi& api) {
  ncclUniqueId id;
  if (control.rank() == kCoordinator)
    if (const ncclResult_t result = api.get_unique_id(&id); result != ncclSuccess)
      throw CommError(std::string("ncclGetUniqueId: ") + api.error_string(result));
  torch::Tensor bytes = torch::empty({NCCL_UNIQUE_ID_BYTES}, torch::kUInt8);
  std::memcpy(bytes.data_ptr(), id.internal, NCCL_UNIQUE_ID_BYTES);
  control.broadcast(bytes, kCoordinator, "NCCL id")->wait();
  std::memcpy(id.internal, bytes.data_ptr(), NCCL_UNIQUE_ID_BYTES);
  return id;
}

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(Communicator& control, double timeout)
      : rank_(control.rank()),
        size_(control.size()),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true)),
        handle_(
            std::make_shared<NcclHandle>(api_, shared_id(control, api_), rank_, size_, timeout)) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, const std::string& name) override {
    return run(name, {tensor},
               [&](const NcclCollectives& nccl) { return nccl.all_reduce(tensor); });
  }

  std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& counts,
                                   const std::string& name) override {
    check_gather_rows(output, input, counts, *this, name);
    return run(name, {output, input},
               [&](const NcclCollectives& nccl) { return nccl.all_gather(output, input, counts); });
  }

  std::unique_ptr<Work> reduce_scatter(torch::Tensor output, torch::Tensor input,
                                       const std::vector<int64_t>& counts,
                                       const std::string& name) override {
    check_gather_rows(input, output, counts, *this, name);
    return run(name, {output, input}, [&](const NcclCollectives& nccl) {
      return nccl.reduce_scatter(output, input, counts);
    });
  }

  std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& recv_counts,
                                   const std::vector<int64_t>& send_counts,
                                   const std::string& name) override {
    check_rows(input, send_counts, *this, name);
    check_rows(output, recv_counts, *this, name);
    return run(name, {output, input}, [&](const NcclCollectives& nccl) {
      return nccl.all_to_all(output, input, recv_counts, send_counts);
    });
  }

  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root,
                                  const std::string& name) override {
    return run(name, {tensor},
               [&](const NcclCollectives& nccl) { return nccl.broadcast(tensor, root); });
  }

  void barrier(const std::string& name) override {
    torch::Tensor one =
        torch::ones({1}, torch::TensorOptions(torch::kFloat32).device(torch::kCUDA));
    all_reduce(one, name)->wait();
    c10::cuda::getCurrentCUDAStream().synchronize();
  }

  void abort() override { handle_->abort(); }

 private:
  template <class Call>
  std::unique_ptr<Work> run(const std::string& name, const std::vector<torch::Tensor>& tensors,
                            Call call) {
    at::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream());
    ready.block(stream_);
    for (const torch::Tensor& tensor : tensors) {
      check_tensor(tensor, name);
      // The allocator must not reuse this memory before the stream is done with it.
      tensor.record_stream(stream_.unwrap());
    }
    handle_->run(
        name, [&](ncclComm_t comm) { return call(NcclCollectives(api_, comm, stream_.stream())); });
    at::cuda::CUDAEvent done;
    done.record(stream_);
    return std::make_unique<CudaWork>(std::move(done), handle_);
  }

  NcclApi api_;
  int rank_;
  int size_;
  c10::cuda::CUDAStream stream_;
  std::shared_ptr<NcclHandle> handle_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control,
                                                     double timeout_seconds) {
  return std::make_unique<NcclCommunicator>(control, timeout_seconds);
}

}  // namespace pinnerformer
