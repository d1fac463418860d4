#include "comm/nccl/nccl_communicator.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <nccl.h>

#include <cstring>
#include <utility>

#include "comm/nccl/nccl_collectives.h"
#include "comm/nccl/nccl_handle.h"
#include "comm/ranks.h"
#include "comm/row_checks.h"

namespace pinnerformer {
namespace {

using Streams = c10::impl::VirtualGuardImpl;

class DeviceWork : public Work {
 public:
  DeviceWork(torch::Device device, c10::Event&& done, std::weak_ptr<NcclHandle> handle)
      : device_(device), done_(std::move(done)), handle_(std::move(handle)) {}
  void wait() override { done_.block(Streams(device_.type()).getStream(device_)); }
  // A thread that has chosen no device would make a context of its own on GPU 0.
  bool done() override {
    Streams(device_.type()).setDevice(device_);
    if (const auto handle = handle_.lock()) handle->check_async();
    return done_.query();
  }

 private:
  torch::Device device_;
  c10::Event done_;
  std::weak_ptr<NcclHandle>
      handle_;  // the communicator may be destroyed before its last work is checked
};

void check_tensor(const torch::Tensor& tensor, torch::Device device, const std::string& name) {
  TORCH_CHECK(tensor.device() == device, name, ": the NCCL back end moves tensors of ", device,
              ", not of ", tensor.device());
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
  NcclCommunicator(Communicator& control, torch::Device device, double timeout, NcclApi api)
      : api_(std::move(api)),
        rank_(control.rank()),
        size_(control.size()),
        device_(device),
        streams_(device.type()),
        stream_(streams_.getStreamFromGlobalPool(device, /*isHighPriority=*/true)),
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
    torch::Tensor one = torch::ones({1}, torch::TensorOptions(torch::kFloat32).device(device_));
    all_reduce(one, name)->wait();
    streams_.synchronizeStream(streams_.getStream(device_));
  }

  void abort() override { handle_->abort(); }

 private:
  template <class Call>
  std::unique_ptr<Work> run(const std::string& name, const std::vector<torch::Tensor>& tensors,
                            Call call) {
    c10::Event ready(device_.type());
    ready.record(streams_.getStream(device_));
    ready.block(stream_);
    for (const torch::Tensor& tensor : tensors) {
      check_tensor(tensor, device_, name);
      // The allocator must not reuse this memory before the stream is done with it.
      tensor.record_stream(stream_);
    }
    const auto stream = static_cast<cudaStream_t>(streams_.getStreamNativeHandle(stream_));
    handle_->run(name, [&](ncclComm_t comm) { return call(NcclCollectives(api_, comm, stream)); });
    c10::Event done(device_.type());
    done.record(stream_);
    return std::make_unique<DeviceWork>(device_, std::move(done), handle_);
  }

  NcclApi api_;
  int rank_;
  int size_;
  torch::Device device_;
  Streams streams_;
  c10::Stream stream_;
  std::shared_ptr<NcclHandle> handle_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control, torch::Device device,
                                                     double timeout_seconds, NcclApi api) {
  return std::make_unique<NcclCommunicator>(control, device, timeout_seconds, std::move(api));
}

}  // namespace pinnerformer
